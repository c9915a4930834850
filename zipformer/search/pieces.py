"""Text from the pieces of a vocabulary, without the model that cut them."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Sequence

WORD_START = "\u2581"  # stands for the blank before a word
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SILENT = {"<blk>", "<sos/eos>", "<unk>"}


def text_of_tokens(ids: Sequence[int], pieces: Sequence[str]) -> str:
    """The text that tokens write.

    Args:
        ids: Tokens.
        pieces: The piece of every token id; ``<0xE4>`` stands for a byte of UTF-8.

    Returns:
        The text, without a blank at its beginning.

    Example:
        >>> text_of_tokens([1, 2, 1], ["<blk>", "\u2581one", "s"])
        'ones one'
    """
    written = bytearray()
    for piece in (pieces[i] for i in ids):
        byte = _BYTE.fullmatch(piece)
        if byte:
            written.append(int(byte[1], 16))
        elif piece not in _SILENT:
            written += piece.replace(WORD_START, " ").encode()
    # Bytes that do not complete a character yet wait for those that follow.
    return getincrementaldecoder("utf-8")("replace").decode(bytes(written)).lstrip(" ")
