"""Word errors are counted as one counts them by hand."""

from __future__ import annotations

import math

import pytest

from zipformer.evaluation.scoring import GAP, Utterance, WordErrors, total_errors, word_errors


@pytest.mark.parametrize(
    "said,heard,wanted",
    [
        ("one two three", "one two three", WordErrors(0, 0, 0, 3)),
        ("one two three", "one three", WordErrors(0, 1, 0, 3)),
        ("one two three", "one two two three", WordErrors(1, 0, 0, 3)),
        ("one two three", "one too three", WordErrors(0, 0, 1, 3)),
        ("a b c d", "x b d e", WordErrors(1, 1, 1, 4)),
        ("one two", "", WordErrors(0, 2, 0, 2)),
        ("", "one two", WordErrors(2, 0, 0, 0)),
        ("", "", WordErrors(0, 0, 0, 0)),
        ("* a", "* b", WordErrors(0, 0, 1, 2)),
    ],
)
def test_errors_of_one_utterance(said: str, heard: str, wanted: WordErrors) -> None:
    assert word_errors(said.split(), heard.split()) == wanted


def test_a_set_is_the_sum_of_its_utterances_not_the_mean_of_their_rates() -> None:
    utterances = [
        Utterance.of_texts("short", "one", "two"),
        Utterance.of_texts("long", "one two three four five six seven eight nine", "one two"),
    ]
    errors = total_errors(utterances)
    assert errors == WordErrors(insertions=0, deletions=7, substitutions=1, words=10)
    assert errors.wer == pytest.approx(80.0)
    assert errors.correct == 2


def test_more_errors_than_words_exceed_100_percent() -> None:
    assert word_errors(["one"], ["two", "three"]).wer == pytest.approx(200.0)


def test_without_reference_words_there_is_no_rate() -> None:
    assert math.isnan(word_errors([], ["one"]).wer)


def test_an_alignment_holds_both_texts_in_order() -> None:
    utterance = Utterance.of_texts("id", "  a b c d ", "b x d e")
    pairs = utterance.alignment()
    assert [said for said, _ in pairs if said != GAP] == ["a", "b", "c", "d"]
    assert [heard for _, heard in pairs if heard != GAP] == ["b", "x", "d", "e"]
