"""Scripts that are written without blanks between words: Chinese and Japanese."""

from __future__ import annotations

import re

# Radicals to Yi, and the later blocks of Han: as far as characters stand for themselves. Hangul has
# blanks between its words.
_UNSPACED = "\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff60\U00020000-\U0003ffff"
_ONE = re.compile(f"[{_UNSPACED}]")
_BLANK_BETWEEN = re.compile(f"(?<=[{_UNSPACED}]) +(?=[{_UNSPACED}]|$)")


def is_unspaced(character: str) -> bool:
    """Whether it is written without blanks around it; false of the empty string."""
    return _ONE.fullmatch(character) is not None


def without_blanks(text: str) -> str:
    """A text without the blanks between two such characters, or after one at its end.

    Example:
        >>> without_blanks("\u4f60 \u597d abc \u4f60 ")
        '\u4f60\u597d abc \u4f60'
    """
    return _BLANK_BETWEEN.sub("", text)


def words_and_characters(text: str) -> list[str]:
    """The words of a text, and its characters of such scripts one by one.

    Example:
        >>> words_and_characters("one \u4f60\u597d two")
        ['one', '\u4f60', '\u597d', 'two']
    """
    return separate_characters(text).split()


def separate_characters(text: str) -> str:
    """A text in which each such character stands alone between blanks."""
    return _ONE.sub(r" \g<0> ", text)
