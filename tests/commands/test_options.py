"""What a command line means."""

from __future__ import annotations

from argparse import ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from zipformer.commands import options
from zipformer.commands.options import (
    add_model_options,
    load,
    parse_bool,
    parse_modes,
)
from zipformer.config import DataConfig, RunConfig
from zipformer.context import Context
from zipformer.evaluation.candidates import Candidate, Selection
from zipformer.evaluation.selection import Grid
from zipformer.evaluation.test_sets import choose_sets

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


def parsed(*words: str) -> Namespace:
    parser = ArgumentParser(exit_on_error=False)
    add_model_options(parser)
    return parser.parse_args(["run", *words])


def test_numbers_ask_for_a_checkpoint_and_auto_for_a_choice() -> None:
    assert (parsed().epoch, parsed().avg) == (None, None)
    assert (parsed("--epoch", "3").epoch, parsed("--avg", "2").avg) == (3, 2)
    options = parsed("--epoch", "auto", "--select-context", "32/256/64")
    assert (options.epoch, options.select_context) == ("auto", Context(32, 256, 64))
    for words in (["--epoch", "last"], ["--avg", "-1"], ["--select-context", "32"]):
        with pytest.raises(ArgumentError):
            parsed(*words)


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> list[Grid]:
    """What is asked of ``select``, which picks epoch 4, average 3; nothing is loaded."""
    seen: list[Grid] = []
    best = Candidate(4, 3, 5, 100, "said", {}, None)

    def chosen(exp_dir: Path, grid: Grid, *rest: object) -> Selection:
        seen.append(grid)
        return Selection({"sets": {"/dev": []}, "cuts": 0, "context": "full"}, [best], {})

    monkeypatch.setattr(options, "select", chosen)
    monkeypatch.setattr(options, "load_model", lambda *args, **kinds: (args, kinds))
    return seen


@pytest.mark.parametrize(
    "words,epoch,avg",
    [
        (("--epoch", "auto"), None, None),
        (("--epoch", "auto", "--avg", "auto"), None, None),
        (("--epoch", "auto", "--avg", "2"), None, 2),
        (("--epoch", "9", "--avg", "auto"), 9, None),
    ],
)
def test_what_is_not_auto_is_held(
    grids: list[Grid], words: tuple[str, ...], epoch: int | None, avg: int | None
) -> None:
    asked, output = parsed(*words, "--select-epochs", "6", "--select-cuts", "50"), StringIO()
    _, kinds = load(asked, output)  # type: ignore[misc]
    assert grids == [Grid(epoch, avg, epochs=6, cuts=50)]
    assert (kinds["epoch"], kinds["avg"], asked.epoch, asked.avg) == (4, 3, 4, 3)
    assert asked.chosen.startswith("auto: epoch 4, avg 3 has the lowest WER, 5.00 %")
    assert "* 5.00" in output.getvalue()


def test_without_auto_nothing_is_chosen(grids: list[Grid]) -> None:
    asked = parsed("--epoch", "9")
    _, kinds = load(asked)  # type: ignore[misc]
    assert (kinds["epoch"], kinds["avg"], asked.chosen, grids) == (9, 1, None, [])
    for words in (["--avg", "auto"], ["--iter", "100", "--avg", "auto"]):
        with pytest.raises(ValueError, match="--avg auto needs --epoch"):
            load(parsed(*words))
