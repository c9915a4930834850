"""The network of the paper (Zipformer, arXiv 2310.11230)."""
