"""Vocabularies of sentencepiece models, of characters and of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sentencepiece as spm

from zipformer.tokens import byte_level
from zipformer.tokens.pieces import WORD_START
from zipformer.tokens.scripts import without_blanks
from zipformer.tokens.tokenizer import Tokenizer


class SentencePieceTokenizer(Tokenizer):
    """Text by a sentencepiece model.

    Args:
        path: The model, such as ``local/train_bpe.py`` writes.

    Raises:
        ValueError: If it is no sentencepiece model, or its first token is no blank.
    """

    def __init__(self, path: Path) -> None:
        self._processor = spm.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(path.read_bytes())
        except RuntimeError as error:
            raise ValueError(f"{path} is not a sentencepiece model: {error}") from None
        tokens = [self._processor.IdToPiece(i) for i in range(self._processor.GetPieceSize())]
        super().__init__(path, tokens, self._written(tokens))

    @property
    def scores(self) -> Sequence[float]:
        """Of the pieces, by which text is cut."""
        return [self._processor.GetScore(i) for i in range(self.vocab_size)]

    @property
    def file_name(self) -> str:
        """What a copy of the file is called in the folder of a run."""
        return "bpe.model"

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; characters that no piece holds become ``<unk>``."""
        return self._processor.EncodeAsIds(text)

    def normalize(self, text: str) -> str:
        """A text as it is cut into tokens: characters unified (NFKC), blanks as U+2581."""
        return self._processor.Normalize(text)

    def plain(self, text: str) -> str:
        """A text as its tokens write it back, characters unified as the model does."""
        return self._processor.Normalize(text).replace(WORD_START, " ").strip()

    def _written(self, tokens: list[str]) -> list[str]:
        return tokens


class ByteLevelTokenizer(SentencePieceTokenizer):
    """Text by a sentencepiece model over stand-ins for bytes (``bbpe.model``).

    Args, Raises: As ``SentencePieceTokenizer``.
    """

    @property
    def file_name(self) -> str:
        """What a copy of the file is called in the folder of a run."""
        return "bbpe.model"

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, Chinese characters being words of their own."""
        return super().encode(byte_level.encode(text))

    def normalize(self, text: str) -> str:
        """A text as it is cut into tokens, in stand-ins for bytes."""
        return super().normalize(byte_level.encode(text))

    def plain(self, text: str) -> str:
        """As of every model; blanks that tokens cannot write are gone before letters change."""
        return super().plain(without_blanks(" ".join(text.split())))

    def _written(self, tokens: list[str]) -> list[str]:
        return [byte_level.piece(token) for token in tokens]
