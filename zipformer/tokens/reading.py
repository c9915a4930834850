"""Which kind of vocabulary a file is."""

from __future__ import annotations

from pathlib import Path

from zipformer.tokens.sentencepiece_model import ByteLevelTokenizer, SentencePieceTokenizer
from zipformer.tokens.symbol_table import ScoredVocabulary, TokenList, is_byte_level
from zipformer.tokens.tokenizer import Tokenizer


def open_tokenizer(path: Path) -> Tokenizer:
    """Reads a vocabulary, by the ending of its name.

    Args:
        path: ``.model``, a sentencepiece model (of bytes if its name, or that of its folder, has
            ``bbpe`` in it); ``.vocab``, tokens with scores; ``.txt``, tokens with ids.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else, naming it, or its first token is no blank.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"tokenizer {path} not found: the recipe's prepare.sh makes it "
            "(local/train_bpe.py), and data.bpe_model says where it lies"
        )
    if path.suffix == ".vocab":
        return ScoredVocabulary(path)
    if path.suffix == ".txt":
        return TokenList(path)
    return ByteLevelTokenizer(path) if is_byte_level(path) else SentencePieceTokenizer(path)
