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
    found = aligned(said("u", "one two three four", "one too four five"))
    assert [(pair.kind, pair.said, pair.heard) for pair in found.pairs] == [
        ("", "one", "one"),
        ("sub", "two", "too"),
        ("del", "three", "\u2013"),
        ("", "four", "four"),
        ("ins", "\u2013", "five"),
    ]
    assert (found.cut_id, found.errors.errors, found.errors.words) == ("u", 3, 4)


def test_every_result_has_a_list_of_its_own(example_run: Path) -> None:
    entries = collect([example_run])
    lists = worst_utterances(entries, count=2)
    assert len(lists) == 2 * len(CONTEXTS) and all(len(one.utterances) == 2 for one in lists)
    assert lists[0].title == "clean, full, windowed (offline), greedy, epoch30-avg9: WER 20.00 %"
    everything = worst_utterances(entries, count=99)[0].utterances
    assert "right-5" not in [utterance.cut_id for utterance in everything]
    assert worst_utterances(entries, count=0) == []


def test_a_page_shows_them_word_by_word_the_first_list_open(report: Path) -> None:
    page = report.read_text()
    folds = re.findall(r"<details( open)?><summary>\w+, (?:full|\d+/\d+/\d+),", page)
    assert folds == [" open"] + [""] * 7
    said, heard = '<span class="said">two</span>', '<span class="heard">\u2013</span>'
    assert f'<span class="pair del">{said}{heard}</span>' in page
    assert re.search(r"<h4>long-1 <span class=\"dim\">5 errors, 30 words said</span></h4>", page)


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
