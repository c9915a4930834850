"""From encoder outputs to tokens: for batches of whole utterances and step by step, alike."""

from zipformer.search.greedy_search import greedy
from zipformer.search.search import Search, greedy_of, make_searcher

__all__ = ["Search", "greedy", "greedy_of", "make_searcher"]
