"""Text to token ids and back, with a sentencepiece model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import sentencepiece as spm

BLANK_ID, SOS_EOS_ID, UNK_ID = 0, 1, 2
SPECIAL_TOKENS = ("<blk>", "<sos/eos>", "<unk>")


class Tokenizer:
    """A sentencepiece model whose first ids are ``<blk>``, ``<sos/eos>`` and ``<unk>``.

    Args:
        path: The model that ``local/train_bpe.py`` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no sentencepiece model, or its first ids are other tokens.
    """

    blank_id = BLANK_ID
    unk_id = UNK_ID

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(
                f"tokenizer {self.path} not found: the recipe's prepare.sh makes it "
                "(local/train_bpe.py), and data.bpe_model says where it lies"
            )
        self._processor = spm.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(self.path.read_bytes())
        except RuntimeError as error:
            raise ValueError(f"{self.path} is not a sentencepiece model: {error}") from None
        self.tokens = [self._processor.IdToPiece(i) for i in range(self.vocab_size)]
        if tuple(self.tokens[:3]) != SPECIAL_TOKENS:
            raise ValueError(
                f"{self.path} begins with the tokens {self.tokens[:3]}, expected "
                f"{list(SPECIAL_TOKENS)}: train it with local/train_bpe.py"
            )

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special ones included."""
        return self._processor.GetPieceSize()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; characters that no piece holds become ``<unk>``."""
        return self._processor.EncodeAsIds(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; blanks and ``<sos/eos>`` are skipped."""
        return self._processor.DecodeIds([int(i) for i in ids if i not in (BLANK_ID, SOS_EOS_ID)])

    def normalize(self, text: str) -> str:
        """A text as it is cut into tokens: characters unified (NFKC), blanks as U+2581."""
        return self._processor.Normalize(text)

    def unknown_characters(self, text: str) -> set[str]:
        """Characters of a text that the vocabulary cannot write; white space never counts."""
        return self.unknown_in(self.normalize(text))

    def unknown_in(self, normalized: str) -> set[str]:
        """The same of a text that is normalized already."""
        return set(normalized) - self._characters

    def most_tokens(self, normalized: str) -> int:
        """As many tokens as ``encode`` makes of a text, or more, found without encoding it.

        A token stands for at least one character of the normalized text, or, where a model falls
        back to bytes, for one byte of it.
        """
        return len(normalized.encode()) if self._has_bytes else len(normalized)

    @cached_property
    def _characters(self) -> set[str]:
        return {c for token in self.tokens[len(SPECIAL_TOKENS) :] for c in token} | {"\u2581", " "}

    @cached_property
    def _has_bytes(self) -> bool:
        return any(self._processor.IsByte(i) for i in range(self.vocab_size))

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]
