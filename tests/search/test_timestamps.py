"""Tokens become words at the right times, and words become subtitles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import train_tokenizer

from zipformer.evaluation.subtitles import to_srt
from zipformer.search.protocol import Hypothesis
from zipformer.search.words import Word, text_of, words_of
from zipformer.tokens import Tokenizer
from zipformer.tokens.pieces import text_of_tokens


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(tmp_path_factory.mktemp("bpe"))


def spoken(tokens: list[int], first: int = 3, hop: int = 2) -> Hypothesis:
    times = [first + hop * i for i in range(len(tokens))]
    return Hypothesis(tokens, times, [-0.1 * (i + 1) for i in range(len(tokens))])


@pytest.mark.parametrize("text", ["one two three", "nine", "", "seven seven", "oneone two"])
def test_words_joined_are_the_text(tokenizer: Tokenizer, text: str) -> None:
    words = words_of(spoken(tokenizer.encode(text)), tokenizer.tokens)
    assert " ".join(word.text for word in words) == text


MIXED = ["<blk>", "\u2581", "你", "好", "▁hello", "w", "▁世", "s", "▁<0xE4><0xBD><0xA0>", "。"]


@given(st.lists(st.integers(0, len(MIXED) - 1), max_size=12))
def test_words_of_any_script_make_the_text(ids: list[int]) -> None:
    words = words_of(spoken(ids), MIXED)
    assert text_of(words).split() == text_of_tokens(ids, MIXED).split()


def test_chinese_characters_have_times_of_their_own() -> None:
    words = words_of(spoken([4, 7, 2, 3, 5, 6]), MIXED)
    assert [(w.text, w.spaced) for w in words] == [
        ("hellos", True),
        ("你", False),
        ("好", False),
        ("w", False),
        ("世", True),
    ]
    assert [w.start for w in words] == [0.12, 0.28, 0.36, 0.44, 0.52]


def test_a_word_lasts_from_its_first_token_to_the_end_of_its_last(tokenizer: Tokenizer) -> None:
    tokens = [tokenizer.tokens.index(p) for p in ("\u2581", "t", "w", "o", "\u2581", "o", "n", "e")]
    two, one = words_of(spoken(tokens), tokenizer.tokens)
    assert (two.text, one.text) == ("two", "one")
    assert two.start == pytest.approx(3 * 0.04) and two.end == pytest.approx((9 + 1) * 0.04)
    assert one.start == pytest.approx(11 * 0.04) and one.end == pytest.approx((17 + 1) * 0.04)
    assert two.confidence == pytest.approx(math.exp(-0.25), abs=1e-4)


def test_a_start_of_a_word_without_letters_is_no_word(tokenizer: Tokenizer) -> None:
    mark = tokenizer.tokens.index("\u2581")
    assert words_of(spoken([mark, mark]), tokenizer.tokens) == []


def test_a_text_that_begins_inside_a_word_is_kept(tokenizer: Tokenizer) -> None:
    tokens = [tokenizer.tokens.index(p) for p in ("n", "e")]
    assert [w.text for w in words_of(spoken(tokens), tokenizer.tokens)] == ["ne"]


def test_subtitles_are_numbered_divided_at_pauses_and_never_overlap() -> None:
    times = [(0.0, 0.2), (0.3, 0.5), (2.0, 2.04), (3661.5, 3661.9), (3663.0, 3663.1)]
    words = [Word(f"w{i}", start, end, 1.0) for i, (start, end) in enumerate(times)]
    blocks = to_srt(words).strip().split("\n\n")
    assert [b.splitlines()[0] for b in blocks] == ["1", "2", "3", "4"]
    assert [b.splitlines()[2] for b in blocks] == ["w0 w1", "w2", "w3", "w4"]
    assert blocks[0].splitlines()[1] == "00:00:00,000 --> 00:00:00,800"
    assert blocks[2].splitlines()[1] == "01:01:01,500 --> 01:01:02,300"
    shown = [line.split(" --> ") for b in blocks for line in b.splitlines()[1:2]]
    assert all(end <= start for (_, end), (start, _) in zip(shown, shown[1:], strict=False))


def test_long_speech_is_cut_into_subtitles_of_a_few_seconds() -> None:
    words = [Word("word", 0.5 * i, 0.5 * i + 0.4, 1.0) for i in range(100)]
    blocks = to_srt(words).strip().split("\n\n")
    assert sum(b.splitlines()[2].count("word") for b in blocks) == 100
    assert all(
        len(b.splitlines()[2]) <= 70 and b.splitlines()[2].count("word") <= 13 for b in blocks
    )


def test_nothing_heard_gives_no_subtitles() -> None:
    assert to_srt([]) == ""
