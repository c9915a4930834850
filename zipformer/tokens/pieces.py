"""Text from the pieces of a vocabulary, without the model that cut them."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Sequence
from functools import lru_cache

from zipformer.tokens.scripts import without_blanks

WORD_START = "\u2581"  # stands for the blank before a word
SILENT = frozenset(
    ["<blk>", "<blank>", "<eps>", "<b>", "<sos/eos>", "<sos>", "<eos>", "<s>", "</s>"]
    + ["<pad>", "<unk>", "<UNK>"]
)
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def text_of_tokens(ids: Sequence[int], pieces: Sequence[str]) -> str:
    """The text that tokens write.

    What tokens write is the beginning of what they and others after them write.

    Args:
        ids: Tokens.
        pieces: The piece of every token id; ``<0xE4>`` in it stands for a byte of UTF-8.

    Returns:
        The text, without a blank at its beginning, nor between Chinese or Japanese characters.
        Bytes that are no UTF-8 are left out.

    Example:
        >>> text_of_tokens([1, 2, 1], ["<blk>", "\u2581one", "s"])
        'ones one'
    """
    written = b"".join(_written(pieces[i]) for i in ids)
    # Bytes that do not complete a character yet wait for those that follow.
    text = getincrementaldecoder("utf-8")("ignore").decode(written)
    return without_blanks(text.lstrip(" "))


@lru_cache(maxsize=65536)
def _written(piece: str) -> bytes:
    if piece in SILENT:
        return b""
    # Every second part is the number of a byte.
    parts = _BYTE.split(piece)
    return b"".join(
        bytes([int(part, 16)]) if i % 2 else part.replace(WORD_START, " ").encode()
        for i, part in enumerate(parts)
    )
