"""Byte-level BPE: text as bytes of UTF-8, each with a printable character in its place.

The table of stand-ins is an interface of published models: byte by byte it is the one of the
recipes that trained them.
"""

from __future__ import annotations

import re

from zipformer.tokens.pieces import SILENT, WORD_START
from zipformer.tokens.scripts import separate_characters

_RANGES = ((256, 287), (32, 126), (288, 305), (308, 318), (321, 328), (330, 382), (384, 422))
STAND_INS = [chr(code) for first, last in _RANGES for code in range(first, last + 1)]
_BYTES = {character: byte for byte, character in enumerate(STAND_INS)}


def encode(text: str) -> str:
    """A text in stand-ins, as such models are trained on it.

    Characters of scripts without blanks stand alone, white space is one blank.

    Example:
        >>> encode("A \u4f60")
        'A \u018b\u0163\u0145'
    """
    words = separate_characters(text).split()
    return " ".join("".join(STAND_INS[byte] for byte in word.encode()) for word in words)


def piece(token: str) -> str:
    """What a token writes, in the form of ``text_of_tokens``; special tokens stay as they are.

    Example:
        >>> piece("\u2581\u018b")
        '\u2581<0xE4>'
    """
    if token in SILENT or re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", token):
        return token
    return "".join(_written(character) for character in token)


def _written(character: str) -> str:
    byte = _BYTES.get(character)
    if character == WORD_START or byte is None or 0x20 <= byte < 0x7F:
        return character
    return f"<0x{byte:02X}>"
