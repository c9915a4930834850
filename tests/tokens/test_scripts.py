"""Chinese and Japanese are written without blanks, and what is written stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipformer.tokens.pieces import text_of_tokens
from zipformer.tokens.scripts import is_unspaced, separate_characters, without_blanks

PIECES = ["<blk>", "\u2581", "你", "好", "▁hello", "w", "▁世", "<0xE7>", "<0x95>", "<0x8C>", "한"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("你 好", "你好"),
        ("你 好 ", "你好"),
        ("你 hello 好 世", "你 hello 好世"),
        ("hello  world ", "hello  world "),
        ("カ タ", "カタ"),
        ("한국 어", "한국 어"),
        ("好 。 你", "好。你"),
        ("", ""),
    ],
)
def test_blanks_between_such_characters_are_not_written(text: str, written: str) -> None:
    assert without_blanks(text) == written


def test_what_stands_alone() -> None:
    assert separate_characters("a你好b").split() == ["a", "你", "好", "b"]
    assert [is_unspaced(c) for c in ("你", "ア", "a", "한", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@given(st.lists(st.integers(0, len(PIECES) - 1), max_size=10))
def test_what_is_written_is_the_beginning_of_what_will_be(ids: list[int]) -> None:
    whole = text_of_tokens(ids, PIECES)
    for count in range(len(ids)):
        assert whole.startswith(text_of_tokens(ids[:count], PIECES))
