"""Vocabularies that are lists: ``tokens.txt`` and ``.vocab``. They write text.

Cutting text into tokens takes more than a list: the package simple-sentencepiece does it by the
scores of a ``.vocab``, where it is installed.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from zipformer.tokens import byte_level
from zipformer.tokens.pieces import SILENT, WORD_START
from zipformer.tokens.scripts import is_unspaced
from zipformer.tokens.tokenizer import Tokenizer


class _Cutter(Protocol):
    """What is used of simple-sentencepiece."""

    def encode(self, text: str, out_type: type) -> list[int]: ...


class TokenList(Tokenizer):
    """Tokens of lines ``token id`` (``tokens.txt``).

    Args:
        path: The file. If its name, or that of its folder, has ``bbpe`` in it, tokens are written
            in stand-ins for bytes.

    Raises:
        ValueError: If it is no such list, or its first token is no blank.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, tokens := read_tokens(path), _pieces(tokens, is_byte_level(path)))

    @property
    def can_encode(self) -> bool:
        """A list does not say how."""
        return False

    @property
    def file_name(self) -> str:
        """What a copy of the file is called in the folder of a run."""
        return "bbpe_tokens.txt" if is_byte_level(self.path) else "tokens.txt"

    def encode(self, text: str) -> list[int]:
        """Raises ``ValueError``: a list does not say how text is cut."""
        raise ValueError(
            f"{self.path} is a list of tokens: it writes text, but does not say how text is cut "
            "into them. Give the model that belongs to it (bpe.model, or a .vocab with scores)"
        )

    def normalize(self, text: str) -> str:
        """Raises ``ValueError``, as ``encode``."""
        self.encode(text)
        raise AssertionError("encode has raised")


class ScoredVocabulary(Tokenizer):
    """Tokens of lines ``token<TAB>score`` (``.vocab``), the number of the line being the id.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no such list, or its first token is no blank.
    """

    def __init__(self, path: Path) -> None:
        entries = read_vocabulary(path)
        tokens = [token for token, _ in entries]
        super().__init__(path, tokens, _pieces(tokens, False))
        self._scores = [score for _, score in entries]

    @property
    def scores(self) -> Sequence[float]:
        """Of the tokens, by which text is cut."""
        return self._scores

    @property
    def can_encode(self) -> bool:
        """Whether simple-sentencepiece is installed."""
        return importlib.util.find_spec("ssentencepiece") is not None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text.

        Raises:
            ValueError: If simple-sentencepiece is not installed.
        """
        return self._cutter.encode(text, out_type=int)

    def normalize(self, text: str) -> str:
        """A text with U+2581 before each of its words."""
        return "".join(WORD_START + word for word in text.split())

    @cached_property
    def _cutter(self) -> _Cutter:
        try:
            from ssentencepiece import Ssentencepiece
        except ImportError:
            raise ValueError(
                f"{self.path} says how text is cut into tokens, but the package "
                "simple-sentencepiece does the cutting: install it with: "
                "pip install simple-sentencepiece"
            ) from None
        cutter: _Cutter = Ssentencepiece(str(self.path), num_threads=1)
        return cutter


def read_tokens(path: Path) -> list[str]:
    """Tokens by id, of lines ``token id``.

    Symbols ``#0``, ``#1``, ... behind the tokens, which tell equal pronunciations apart, are left
    out.

    Raises:
        ValueError: If the file is no such list.
    """
    by_id: dict[int, str] = {}
    for number, line in _lines(path):
        token, blank, position = line.rstrip().rpartition(" ")
        if "\t" in line:
            token, blank, position = line.rstrip().rpartition("\t")
        if not blank or not position.isdecimal():
            raise ValueError(f"{path}, line {number}: {line!r} is not 'token id'")
        if re.fullmatch(r"#\d+", token) and by_id:
            continue
        if int(position) in by_id:
            raise ValueError(f"{path}, line {number}: the id {position} is there twice")
        by_id[int(position)] = token
    missing = next((i for i in range(len(by_id)) if i not in by_id), None)
    if missing is not None or not by_id:
        raise ValueError(
            f"{path}: its ids must run from 0 without a gap; {missing or 0} is missing"
        )
    return [by_id[i] for i in range(len(by_id))]


def read_vocabulary(path: Path) -> list[tuple[str, float]]:
    """Tokens and their scores in order, of lines ``token<TAB>score``.

    Raises:
        ValueError: If the file is no such list.
    """
    entries = []
    for number, line in _lines(path):
        token, tab, score = line.rpartition("\t")
        if not tab or not re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", score.strip()):
            raise ValueError(f"{path}, line {number}: {line!r} is not 'token<TAB>score'")
        entries.append((token, float(score)))
    return entries


def is_byte_level(path: Path) -> bool:
    """Whether names tell that tokens are written in stand-ins for bytes."""
    # Not resolve: the hub's cache has links to files without such names.
    return "bbpe" in path.name or "bbpe" in path.absolute().parent.name


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no list of tokens: it is not UTF-8 ({error})") from None
    # Not splitlines: some tokens are separators of lines to that.
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _pieces(tokens: list[str], byte_level_stand_ins: bool) -> list[str]:
    if byte_level_stand_ins:
        return [byte_level.piece(token) for token in tokens]
    if any(WORD_START in token for token in tokens):
        return tokens
    return [_bare_piece(token) for token in tokens]


def _bare_piece(token: str) -> str:
    """What a token writes in a list that marks no beginnings of words: characters, or words."""
    if token in SILENT or re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", token):
        return token
    if token in ("<space>", "<SPACE>"):
        return WORD_START
    return token if len(token) == 1 or is_unspaced(token[0]) else WORD_START + token
