"""The worst utterances come first, aligned."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from report.example_run import CONTEXTS

from zipformer.evaluation.scoring import Utterance
from zipformer.report.compare import collect
from zipformer.report.utterances import aligned, rank, worst_utterances


def said(cut_id: str, reference: str, heard: str) -> Utterance:
    return Utterance.of_texts(cut_id, reference, heard)


def test_most_errors_come_first_then_the_higher_rate_and_what_is_right_not_at_all() -> None:
    two_of_four, two_of_two = said("a", "a b c d", "a b"), said("b", "a b", "x y")
    three, right = said("c", "a b c d e f g", "a b c d"), said("d", "a", "a")
    no_words = said("e", "", "x")
    ranked = rank([right, two_of_four, no_words, two_of_two, three])
    assert ranked == [three, two_of_two, two_of_four, no_words]


def test_every_pair_of_words_is_marked_by_what_went_wrong() -> None:
    page = aligned(said("u", "one two three four", "one too four five"))
    pairs = re.findall(r'class="(pair[^"]*)"><span class="said">(.*?)</span>.*?>(.*?)</span>', page)
    assert pairs == [
        ("pair", "one", "one"),
        ("pair sub", "two", "too"),
        ("pair del", "three", "\u2013"),
        ("pair", "four", "four"),
        ("pair ins", "\u2013", "five"),
    ]
    assert "3 errors, 4 words said" in page


def test_every_result_has_a_list_of_its_own_the_first_open(example_run: Path) -> None:
    lists = worst_utterances(collect([example_run]), count=2)
    assert len(lists) == 2 * len(CONTEXTS)
    assert [part.startswith('<details open="open">') for part in lists] == [True] + [False] * 7
    assert all(part.count("<article>") == 2 for part in lists)
    assert "right-5" not in "".join(worst_utterances(collect([example_run]), count=99))
    assert worst_utterances(collect([example_run]), count=0) == []


def test_words_that_cannot_be_read_are_left_out_with_a_warning(
    example_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = collect([example_run])[:1]
    folder = tmp_path / "decode" / entries[0].result.folder
    folder.mkdir(parents=True)
    (folder / "wer.json").write_bytes(entries[0].path.read_bytes())
    with caplog.at_level(logging.WARNING):
        assert worst_utterances(collect([tmp_path]), count=2) == []
    assert "recogs.txt" in caplog.text
