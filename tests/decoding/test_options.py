"""What a command line means."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path

import pytest

from zipformer.config import DataConfig, RunConfig
from zipformer.decoding.options import choose_sets, for_people, parse_bool, parse_modes

CONFIG = replace(
    RunConfig(), data=DataConfig(test={"clean": Path("/c.jsonl"), "babble": Path("/b.jsonl")})
)


def test_sets_are_those_of_the_config_or_any_manifest() -> None:
    assert list(choose_sets(CONFIG, None)) == ["clean", "babble"]
    assert choose_sets(CONFIG, "babble") == {"babble": Path("/b.jsonl")}
    mine = choose_sets(CONFIG, "mine=data/x.jsonl.gz, clean")
    assert mine == {"mine": Path("data/x.jsonl.gz"), "clean": Path("/c.jsonl")}


def test_an_unknown_set_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="'noisy'.* has: clean, babble"):
        choose_sets(CONFIG, "clean,noisy")
    with pytest.raises(ValueError, match="no test set"):
        choose_sets(RunConfig(), None)


def test_modes_and_truth_values_are_read_strictly() -> None:
    assert parse_modes("windowed,masked") == ["windowed", "masked"]
    assert parse_bool("True") and not parse_bool("no")
    with pytest.raises(ArgumentTypeError, match="windowed, masked, stream"):
        parse_modes("mask")
    with pytest.raises(ArgumentTypeError, match="true or false"):
        parse_bool("maybe")


@pytest.mark.parametrize("error", [ValueError("bad"), FileNotFoundError("bad"), MemoryError("bad")])
def test_errors_that_a_user_can_mend_are_one_line(error: Exception) -> None:
    with pytest.raises(SystemExit, match="^error: bad$"), for_people():
        raise error


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError), for_people():
        raise RuntimeError("a bug")
