"""Pieces alone write what the sentencepiece model writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trained_digits import trained

from zipformer.tokens.pieces import text_of_tokens

PIECES = ["<blk>", "<sos/eos>", "<unk>", "\u2581one", "s", "\u2581", "<0xC3>", "<0xA4>", "\u2581t"]


@given(st.lists(st.integers(3, 28), max_size=12))
def test_words_are_those_of_the_tokenizer(ids: list[int]) -> None:
    tokenizer = trained().tokenizer
    assert text_of_tokens(ids, tokenizer.tokens).split() == tokenizer.decode(ids).split()


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], ""),
        ([3, 4, 3], "ones one"),
        ([4, 3], "s one"),
        ([0, 3, 1, 2, 4], "ones"),
        ([8, 6, 7], "t\u00e4"),
        ([8, 6], "t"),
        ([8, 7], "t"),
        ([5, 4], "s"),
    ],
)
def test_blanks_bytes_and_special_tokens(ids: list[int], text: str) -> None:
    assert text_of_tokens(ids, PIECES) == text


def test_what_is_final_stays_in_front_of_what_follows() -> None:
    ids = [3, 4, 5, 4, 8, 6, 7, 4]
    whole = text_of_tokens(ids, PIECES)
    assert all(whole.startswith(text_of_tokens(ids[:n], PIECES)) for n in range(len(ids)))
