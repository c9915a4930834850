"""Names of searches that people type mean the values that write them."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from pathlib import Path

import pytest
from tiny_run import ALL_HEADS, CTC_ATTENTION, ENCODER
from trained_digits import trained

from zipformer.commands.search_options import (
    add_hotwords_options,
    add_search_options,
    parse_search,
    search_of,
)
from zipformer.config import ModelConfig
from zipformer.model import AsrModel
from zipformer.search.search import KINDS, WITHOUT_BEAM, Search

FROZEN = json.loads((Path(__file__).parents[1] / "assets/frozen/names.json").read_text())


def model_of(heads: ModelConfig = ALL_HEADS) -> AsrModel:
    return AsrModel(ENCODER, trained().tokenizer.vocab_size, heads).eval()


def asked(*words: str, heads: ModelConfig = ALL_HEADS) -> Search:
    parser = ArgumentParser()
    add_search_options(parser)
    add_hotwords_options(parser)
    return search_of(parser.parse_args(words), model_of(heads), trained().tokenizer)


@pytest.mark.parametrize("row", FROZEN["searches"], ids=lambda row: row["name"])
def test_names_are_those_that_results_have_been_filed_under(row: dict) -> None:
    search = Search(row["method"], row["beam"], row["weight"], row["first_pass"])
    assert str(search) == row["name"]
    assert str(parse_search(row["name"])) == row["name"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_name_has_the_usual_numbers(kind: str) -> None:
    assert parse_search(kind) == Search(kind)  # type: ignore[arg-type]


def test_options_complete_a_name_and_a_name_may_hold_them() -> None:
    assert asked() == Search("greedy")
    assert asked(heads=CTC_ATTENTION) == Search("ctc_greedy")
    assert str(asked("--method", "modified_beam_search")) == "modified_beam_search-beam4"
    assert asked("--method", "modified_beam_search", "--beam", "8").beam == 8
    assert asked("--method", "modified_beam_search-beam8").beam == 8
    words = ["--method", "attention_rescoring", "--beam", "6", "--attention-weight", "0.3"]
    name = "attention_rescoring-ctc-beam6-weight0.3"
    assert asked(*words, "--first-pass", "ctc") == parse_search(name)
    joint = asked("--method", "modified_beam_search", "--ctc-weight", "0.3")
    assert joint == parse_search("modified_beam_search-beam4-ctc0.3")


@pytest.mark.parametrize(
    "name",
    [
        "viterbi",
        "attention_rescoring-hmm-beam4-weight0.5",
        "greedy-beam4",
        "ctc_greedy-beam4",
        "ctc_prefix_beam_search-beam4-ctc0.3",
    ],
)
def test_names_that_mean_nothing_list_those_that_do(name: str) -> None:
    message = f"unknown search method '{name}'; there are: greedy, .*attention_rescoring"
    with pytest.raises(ValueError, match=message):
        parse_search(name)


def test_a_search_that_the_model_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the heads transducer; this model has ctc"):
        asked("--method", "greedy", heads=CTC_ATTENTION)
    with pytest.raises(ValueError, match="beam 0"):
        asked("--method", "modified_beam_search", "--beam", "0")


def test_phrases_stand_in_the_name_of_any_beam_search(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("one two\nsix :3\n")
    hotwords = ("--hotwords", str(path))
    search = asked("--method", "modified_beam_search", "--ctc-weight", "0.3", *hotwords)
    assert search.hotwords is not None
    assert [p.score for p in search.hotwords.phrases] == [1.5, 3.0]
    name = f"hotwords-{search.hotwords.name}"
    assert str(search) == f"modified_beam_search-beam4-ctc0.3-{name}"
    assert re.fullmatch(r"hotwords-names-[0-9a-f]{6}", name)
    other = asked("--method", "ctc_prefix_beam_search", *hotwords, "--hotwords-score", "2")
    assert str(other).startswith("ctc_prefix_beam_search-beam4-hotwords-names-")
    assert other.hotwords and other.hotwords.name != search.hotwords.name
    rescored = str(asked("--method", "attention_rescoring", *hotwords))
    assert rescored == f"attention_rescoring-beam4-weight0.5-{name}"
    with pytest.raises(ValueError, match="the phrases of --hotwords FILE belong to .*names-"):
        parse_search(str(search))


@pytest.mark.parametrize("kind", WITHOUT_BEAM)
def test_phrases_need_several_hypotheses(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("one two")
    message = f"phrases need a search that follows several hypotheses, not {kind}.*Choose --method"
    with pytest.raises(ValueError, match=message):
        asked("--method", kind, "--hotwords", str(path))


def test_a_score_without_phrases_is_refused() -> None:
    with pytest.raises(ValueError, match="--hotwords-score needs phrases"):
        asked("--hotwords-score", "2")
