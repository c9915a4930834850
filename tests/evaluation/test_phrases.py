"""What is said of the phrases that a search preferred."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from evaluation.example_results import UTTERANCES, example
from trained_digits import read_strings, trained, write_strings

from zipformer.biasing import Hotwords
from zipformer.config import ScoringConfig
from zipformer.context import Context
from zipformer.evaluation.evaluate import evaluate
from zipformer.evaluation.phrases import PhraseErrors, phrase_errors
from zipformer.evaluation.results import FIGURES, read_result, write_result
from zipformer.evaluation.scoring import Utterance, total_errors
from zipformer.search.search import Search
from zipformer.tokens.scoring import Scorer


def counted(phrases: list[str], *pairs: tuple[str, str], unit: str = "word") -> PhraseErrors:
    tokenizer = trained().tokenizer
    scorer = Scorer(ScoringConfig(unit=unit), tokenizer)  # type: ignore[arg-type]
    hotwords = Hotwords.of("x", [(phrase, 1.0) for phrase in phrases], tokenizer)
    utterances = [Utterance.scored(scorer, str(i), *pair) for i, pair in enumerate(pairs)]
    found = phrase_errors(hotwords, utterances, scorer)
    total = total_errors(utterances)
    assert found.errors + found.other_errors == total.errors  # each error is of one kind
    assert found.words + found.other_words == total.words
    return found


@pytest.mark.parametrize(
    ("said", "heard", "found", "false_alarms", "errors"),
    [
        ("one two six", "one two six", 1, 0, 0),
        ("one two six", "one three six", 0, 0, 1),
        ("one two six", "one two nine", 1, 0, 0),
        ("one two six", "one six", 0, 0, 1),
        ("one two", "one six two", 0, 0, 0),  # the six belongs to no phrase
        ("one six", "one two", 0, 1, 0),  # nor was a word said that belongs to one
        ("six", "six one two", 0, 1, 2),
        ("one two one two", "one two", 1, 0, 2),
        ("one one two", "one two two", 1, 0, 1),
    ],
)
def test_phrases_are_found_missed_or_heard_where_nobody_said_them(
    said: str, heard: str, found: int, false_alarms: int, errors: int
) -> None:
    result = counted(["one two", "five"], (said, heard))
    assert (result.found, result.false_alarms) == (found, false_alarms)
    if (said, heard) != ("one one two", "one two two"):  # several alignments are as good
        assert result.errors == errors


def test_phrases_within_others_count_too_and_their_words_once() -> None:
    result = counted(
        ["one two", "one two three", "two"], ("one two three six", "one two three six")
    )
    assert (result.said, result.found, result.words, result.other_words) == (3, 3, 3, 1)
    assert str(result) == (
        "phrases found 3 / 3 (100.00 %), 0 false alarms; "
        "errors in their words 0 / 3 (0.00 %), in others 0 / 1 (0.00 %)"
    )


def test_of_phrases_that_nobody_says_there_is_no_rate() -> None:
    result = str(counted(["nine"], ("one", "one nine")))
    assert result.startswith("phrases found 0 / 0, 1 false alarms; errors in their words 1 / 0, ")


def test_phrases_are_cut_as_everything_is_that_is_scored() -> None:
    result = counted(["one"], ("one two", "one"), unit="char")
    assert (result.said, result.found, result.words, result.other_errors) == (1, 1, 3, 3)


def test_figures_are_written_only_where_phrases_were_preferred(tmp_path: Path) -> None:
    phrases = PhraseErrors("names-abc123", 3, 5, 4, 1, 9, 2, 20, 1)
    result = replace(example(), hotwords=phrases)
    path = write_result(tmp_path / "a", result, UTTERANCES) / FIGURES
    assert read_result(path) == result
    assert json.loads(path.read_text())["hotwords"] == asdict(phrases)
    path = write_result(tmp_path / "b", example(), UTTERANCES) / FIGURES
    assert "hotwords" not in json.loads(path.read_text()) and read_result(path).hotwords is None


def test_figures_of_phrases_that_are_not_understood_are_passed_over(tmp_path: Path) -> None:
    path = write_result(tmp_path, example(), UTTERANCES) / FIGURES
    content = json.loads(path.read_text())
    for value in ({"newer": 1}, "names.txt", {"file": "x", "phrases": 2, "newer": 3}):
        path.write_text(json.dumps(content | {"hotwords": value}))
        phrases = read_result(path).hotwords
        assert phrases == (PhraseErrors("x", 2) if "file" in value else None)


@pytest.mark.slow
def test_phrases_that_are_said_are_found_whole_and_live(tmp_path: Path) -> None:
    """On strings of digits that were really spoken, the list being what is said in some."""
    manifest = write_strings(tmp_path, 6)
    texts = [cut.supervisions[0].text for cut in read_strings(manifest)]
    hotwords = Hotwords.of("half", [(text, 1.0) for text in texts[::2]], trained().tokenizer)
    search = Search("modified_beam_search", hotwords=hotwords)
    results = [
        evaluate(
            trained(), manifest, "test", Context(32, 256, 64), mode, search, decode_dir=tmp_path
        )
        for mode in ("windowed", "stream")
    ]
    whole, live = (result.hotwords for result in results)
    assert whole == live and whole is not None
    assert (whole.said, whole.found, whole.errors) == (3, 3, 0)
    assert f"-hotwords-{hotwords.name}_" in results[0].folder
    recognized = [(tmp_path / r.folder / "recogs.txt").read_text() for r in results]
    assert recognized[0] == recognized[1]
