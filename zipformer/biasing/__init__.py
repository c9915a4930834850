"""Phrases that a search is to prefer, from a file to what every token would be worth."""

from zipformer.biasing.hotwords import Hotwords, Phrase, read_hotwords

__all__ = ["Hotwords", "Phrase", "read_hotwords"]
