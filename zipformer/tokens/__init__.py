"""Vocabularies: text to token ids where a model of pieces is at hand, and always back."""

from zipformer.tokens.reading import open_tokenizer
from zipformer.tokens.tokenizer import BLANK_ID, SOS_EOS_ID, SPECIAL_TOKENS, UNK_ID, Tokenizer

__all__ = ["BLANK_ID", "SOS_EOS_ID", "SPECIAL_TOKENS", "UNK_ID", "Tokenizer", "open_tokenizer"]
