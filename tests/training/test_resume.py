"""A run that was stopped, killed or left alone goes on as if nothing had happened."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.runs import records, same, start, stripped
from training.tiny_task import TinyTask, tiny_config

from zipformer.checkpoint import files as checkpoint
from zipformer.config import OptimConfig
from zipformer.training.distributed import Processes
from zipformer.training.loop import fit


@pytest.mark.parametrize("stop_at", [3, 5, 6, 7, 11, 14, 20])
def test_stopped_and_resumed_run_equals_straight_run(
    tmp_path: Path, straight: Path, stop_at: int
) -> None:
    fit(tiny_config(tmp_path, max_steps=stop_at), TinyTask())
    assert checkpoint.steps_in(tmp_path)[-1] == stop_at
    fit(tiny_config(tmp_path), TinyTask())
    for epoch in (1, 2, 3):
        name = f"epoch-{epoch}.pt"
        if epoch == 3 or epoch > stop_at // 7:
            assert same(stripped(tmp_path / name)["model"], stripped(straight / name)["model"])
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt")
    assert same(ours["optimizer"], theirs["optimizer"])
    assert same(ours["average"], theirs["average"])
    assert same(ours["scheduler"], theirs["scheduler"])
    assert same(ours["state"], theirs["state"])
    ours_train = [r for r in records(tmp_path) if r["kind"] == "train"]
    assert ours_train == [r for r in records(straight) if r["kind"] == "train"]


def test_two_runs_are_equal_bit_for_bit(tmp_path: Path, straight: Path) -> None:
    fit(tiny_config(tmp_path), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
    assert records(tmp_path) == records(straight)


def test_another_seed_gives_another_run(tmp_path: Path, straight: Path) -> None:
    fit(tiny_config(tmp_path, seed=7), TinyTask())
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt")
    assert not same(ours["model"], theirs["model"])


def test_validation_does_not_change_training(tmp_path: Path, straight: Path) -> None:
    fit(tiny_config(tmp_path, valid_every=1), TinyTask())
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt")
    assert same(ours["model"], theirs["model"])


def test_run_killed_without_warning_resumes_from_the_last_checkpoint(
    tmp_path: Path, straight: Path
) -> None:
    completed = start(tmp_path, kill=10, signal_number=int(signal.SIGKILL))
    assert completed.returncode == -signal.SIGKILL
    assert checkpoint.newest(tmp_path) == tmp_path / "epoch-1.pt"  # step 7; it died at 10
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "st')  # and left a torn line
    fit(tiny_config(tmp_path), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
    assert records(tmp_path) == records(straight)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_signal_finishes_the_step_saves_and_exits_0(
    tmp_path: Path, straight: Path, name: str
) -> None:
    task = {"kill": 9, "signal_number": int(getattr(signal, name))}
    if name == "SIGTERM":
        completed = start(tmp_path, **task)
        assert completed.returncode == 0, completed.stderr
    else:  # in this process, which takes less time
        fit(tiny_config(tmp_path), TinyTask(**task))
    assert f"stopped by {name} and saved; the same command" in (tmp_path / "log.txt").read_text()
    assert checkpoint.steps_in(tmp_path)[-1] == 10  # the step that was running is in it
    fit(tiny_config(tmp_path), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
    assert records(tmp_path) == records(straight)


def test_signal_during_validation_saves_at_once(
    tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validate(self: TinyTask, model: torch.nn.Module, processes: Processes) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal should have ended this")

    with monkeypatch.context() as patch:
        patch.setattr(TinyTask, "validate", validate)
        fit(tiny_config(tmp_path), TinyTask())
    assert checkpoint.newest(tmp_path) == tmp_path / "checkpoint-5.pt"
    fit(tiny_config(tmp_path), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
    assert records(tmp_path) == records(straight)


def test_handlers_of_signals_are_put_back(straight: Path) -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_finished_run_says_so_and_changes_nothing(
    tmp_path: Path, straight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(straight, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "epoch-3.pt").read_bytes()
    task = TinyTask()
    with caplog.at_level(logging.INFO, "zipformer"):
        fit(tiny_config(tmp_path), task)
    assert "finished. To go on, raise train.num_epochs (3)" in caplog.text
    assert task.steps == []
    assert (tmp_path / "epoch-3.pt").read_bytes() == before
    assert records(tmp_path) == records(straight)


def test_new_run_begins_with_the_weights_of_another_and_goes_on_with_its_own(
    tmp_path: Path, straight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = straight / "epoch-3.pt"
    zero = OptimConfig(base_lr=0.0)
    config = replace(tiny_config(tmp_path, init_from=source, max_steps=2), optim=zero)
    fit(config, TinyTask())
    theirs = stripped(source)["model"]["first.weight"]
    assert torch.equal(stripped(tmp_path / "checkpoint-2.pt")["model"]["first.weight"], theirs)
    assert f"weights of {source}" in caplog.text
    caplog.clear()
    fit(tiny_config(tmp_path, init_from=source, max_steps=4), TinyTask())
    assert "weights of" not in caplog.text and "going on from" in caplog.text


def test_more_epochs_may_be_asked_for_later(tmp_path: Path, straight: Path) -> None:
    fit(tiny_config(tmp_path, num_epochs=2), TinyTask())
    fit(tiny_config(tmp_path, num_epochs=3), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
