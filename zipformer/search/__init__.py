"""From encoder outputs to words, figures and tables."""

from zipformer.search.greedy_search import greedy

__all__ = ["greedy"]
