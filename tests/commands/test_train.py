"""Training as a user starts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands.calling import Caller

import zipformer.commands.train
from zipformer.training.step import NonFiniteError


class TooMany(NonFiniteError):
    """One that needs no step to be made from."""

    def __init__(self) -> None:
        RuntimeError.__init__(self, "3 steps in a row were skipped")


@pytest.mark.parametrize("error", [TooMany(), FileNotFoundError("no cuts")], ids=type)
def test_what_ends_a_training_is_one_line(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def train(config: object) -> None:
        raise error

    monkeypatch.setattr(zipformer.commands.train, "train", train)
    (tmp_path / "recipe.toml").write_text("")
    done = call("train", "recipe.toml", cwd=tmp_path)
    assert (done.status, done.stdout, done.stderr) == (1, "", f"error: {error}\n")


def test_print_config_shows_what_would_be_trained(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[train]\nnum_epochs = 7\n")
    done = call("train", "recipe.toml", "--seed", "3", "--print-config", cwd=tmp_path)
    assert done.status == 0 and done.stderr == ""
    assert "num_epochs = 7\n" in done.stdout and "seed = 3\n" in done.stdout
