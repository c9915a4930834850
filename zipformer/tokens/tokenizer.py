"""The one face of all vocabularies."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from zipformer.tokens.pieces import SILENT, text_of_tokens

# The blank is 0 in every vocabulary; the other two are where training here puts them, and go by
# name where others have trained.
BLANK_ID, SOS_EOS_ID, UNK_ID = 0, 1, 2
SPECIAL_TOKENS = ("<blk>", "<sos/eos>", "<unk>")
BLANKS = ("<blk>", "<blank>", "<eps>", "<b>")
UNKNOWN = ("<unk>", "<UNK>")


class Tokenizer(ABC):
    """A vocabulary, whose blank has the id 0.

    Args:
        path: The file that it was read from.
        tokens: By id, as the file names them.
        pieces: By id, what each of them writes, in the form of ``text_of_tokens``; the same as
            ``tokens`` if not given.

    Raises:
        ValueError: If the first token is no blank.
    """

    blank_id = BLANK_ID

    def __init__(
        self, path: Path, tokens: Sequence[str], pieces: Sequence[str] | None = None
    ) -> None:
        self.path = path
        self.tokens = list(tokens)
        self.pieces = self.tokens if pieces is None else list(pieces)
        if not self.tokens or self.tokens[0] not in BLANKS:
            raise ValueError(
                f"{path} begins with the tokens {self.tokens[:3]}, and models here have the blank "
                f"({', '.join(BLANKS)}) first: train it with local/train_bpe.py, or take the file "
                "that belongs to the model"
            )

    @property
    def scores(self) -> Sequence[float]:
        """Of the tokens, by which text is cut; empty where the vocabulary has none."""
        return ()

    @property
    def can_encode(self) -> bool:
        """Whether text can be cut into tokens here, not only written."""
        return True

    @property
    def file_name(self) -> str:
        """What a copy of the file is called, so that it is read as the same kind of vocabulary."""
        return self.path.name

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special ones included."""
        return len(self.tokens)

    @cached_property
    def unk_id(self) -> int | None:
        """Of the token for what cannot be written; None if there is none."""
        return next((i for i, token in enumerate(self.tokens) if token in UNKNOWN), None)

    def check_sentences(self) -> None:
        """Refuses a vocabulary for an attention decoder, which begins and ends with the token 1.

        Raises:
            ValueError: If that is another token than ``<sos/eos>``.
        """
        if self.tokens[SOS_EOS_ID] != SPECIAL_TOKENS[SOS_EOS_ID]:
            raise ValueError(
                f"{self.path}: an attention decoder takes token {SOS_EOS_ID} for <sos/eos>, which "
                f"is {self.tokens[SOS_EOS_ID]!r} here; train without it "
                "(model.attention_decoder = false), or on a vocabulary of local/train_bpe.py"
            )

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; special tokens write nothing."""
        return text_of_tokens([int(i) for i in ids], self.pieces)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of a text; characters that no token holds become ``<unk>``.

        Raises:
            ValueError: If this vocabulary can write text alone, saying what is missing.
        """

    @abstractmethod
    def normalize(self, text: str) -> str:
        """A text as it is cut into tokens; raises as ``encode``."""

    def plain(self, text: str) -> str:
        """A text as its tokens write it back: characters unified (NFKC).

        Both sides of a comparison pass it, so that a perfect hypothesis has no error.
        """
        return unicodedata.normalize("NFKC", text)

    def unknown_characters(self, text: str) -> set[str]:
        """Characters of a text that the vocabulary cannot write; white space never counts."""
        return self.unknown_in(self.normalize(text))

    def unknown_in(self, normalized: str) -> set[str]:
        """The same of a text that is normalized already."""
        return set() if self._has_bytes else set(normalized) - self._characters

    def most_tokens(self, normalized: str) -> int:
        """As many tokens as ``encode`` makes of a text, or more, found without encoding it.

        A token stands for at least one character of the normalized text, or, where a model falls
        back to bytes, for one byte of it.
        """
        return len(normalized.encode()) if self._has_bytes else len(normalized)

    @cached_property
    def _characters(self) -> set[str]:
        written = (token for token in self.tokens if token not in SILENT)
        return {character for token in written for character in token} | {"\u2581", " "}

    @cached_property
    def _has_bytes(self) -> bool:
        return "<0x00>" in self.tokens

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]
