"""Runs compared, a run on one page, load tests: tables, charts, figures."""

from zipformer.report.run_page import write_report

__all__ = ["write_report"]
