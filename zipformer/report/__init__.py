"""A run on one page: curves, error rates, the worst utterances, config and environment."""

from zipformer.report.run_page import write_report

__all__ = ["write_report"]
