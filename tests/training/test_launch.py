"""One process a core on a CPU: the same run, its signals and its errors."""

from __future__ import annotations

import logging
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from training.runs import records, run, same, stripped
from training.tiny_task import TinyTask, tiny_config

from zipformer.checkpoint import files as checkpoint
from zipformer.config import TrainConfig
from zipformer.config.command_line import load_config
from zipformer.training import launch
from zipformer.training.launch import number_of_processes, train, usable_cores
from zipformer.training.loop import fit

ROOT = Path(__file__).parents[2]
# What a user runs, with a task that something happens to in one process.
COMMAND = """
import sys
from pathlib import Path
from training.tiny_task import tiny_config
from training.together import RankTask
from zipformer.commands.errors import one_line_errors
from zipformer.training.launch import train
from zipformer.training.lost import ProcessLostError

exp_dir, how = sys.argv[1:]
with one_line_errors(ProcessLostError):
    train(tiny_config(Path(exp_dir), accumulate=2, processes=2), RankTask(how, pause=0.02))
"""


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_processes_that_share_a_step_give_what_one_gives_bit_for_bit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And each may go on where the other stopped, without a warning."""
    one, two, both = (tmp_path / name for name in ("one", "two", "both"))
    fit(tiny_config(one, accumulate=2), TinyTask())
    train(tiny_config(two, accumulate=2, processes=2), TinyTask())
    train(tiny_config(both, accumulate=2, processes=2, max_steps=9), TinyTask())
    train(tiny_config(both, accumulate=2, processes=1), TinyTask())
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    wanted = stripped(one / "epoch-3.pt")
    for exp_dir in (two, both):
        found = stripped(exp_dir / "epoch-3.pt")
        for part in ("optimizer", "average", "scheduler", "state"):
            assert same(found[part], wanted[part]), (exp_dir.name, part)
    assert records(two)[-1]["loss"] == pytest.approx(records(one)[-1]["loss"], rel=1e-6)
    assert "2 processes, threads in each: 1" in (two / "log.txt").read_text()
    assert not (two / "log-1.txt").exists()  # nothing to warn of


def test_a_run_stored_before_there_was_the_key_goes_on_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny_config(tmp_path, accumulate=2, max_steps=1), TinyTask())
    path = checkpoint.step_path(tmp_path, 1)
    content = checkpoint.load(path)
    del content["config"]["train"]["processes"]
    torch.save(content, path)
    fit(tiny_config(tmp_path, accumulate=2, processes=2, max_steps=2), TinyTask())
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert stripped(checkpoint.step_path(tmp_path, 2))["state"]["batches_per_step"] == 2


@pytest.mark.parametrize(
    ("cores", "accumulate", "processes"),
    [(2, 2, 2), (2, 1, 1), (2, 3, 1), (4, 6, 3), (4, 2, 2), (1, 8, 1), (64, 8, 8)],
)
def test_auto_divides_a_step_among_as_many_cores_as_it_can(
    monkeypatch: pytest.MonkeyPatch, cores: int, accumulate: int, processes: int
) -> None:
    monkeypatch.setattr(launch, "usable_cores", lambda: cores)
    assert number_of_processes(TrainConfig(accumulate=accumulate, device="cpu")) == processes


@pytest.mark.parametrize("where", ["cuda", "torchrun"])
def test_elsewhere_than_on_a_cpu_torchrun_says_how_many(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(launch, "usable_cores", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: where == "cuda")
    if where == "torchrun":
        monkeypatch.setenv("WORLD_SIZE", "1")
    assert number_of_processes(TrainConfig(accumulate=8)) == 1
    with pytest.raises(ValueError, match=r"train.processes = 4 is for .*torchrun --nproc-per-node"):
        number_of_processes(TrainConfig(accumulate=8, processes=4))
    if where == "cuda":
        assert number_of_processes(TrainConfig(accumulate=8, device="cpu")) == 8


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 6), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 6), (None, 6)],
)
def test_cores_are_those_that_a_container_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(launch, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores() == cores


def test_a_number_that_does_not_divide_the_step_is_refused_and_auto_is_a_word() -> None:
    with pytest.raises(ValueError, match=r"train.processes = 2 .*train.accumulate = 3"):
        load_config(None, ["--processes", "2", "--accumulate", "3"])
    with pytest.raises(ValueError, match=r"processes must be integer or auto, got 'all'"):
        load_config(None, ["--processes", "all"])
    for word, value in (("auto", "auto"), ("2", 2)):
        config = load_config(None, ["--processes", word, "--accumulate", "4"])
        assert config.train.processes == value


def test_a_toml_may_say_auto_or_a_number(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    for text, value in (('"auto"', "auto"), ("2", 2)):
        path.write_text(f"[train]\naccumulate = 2\nprocesses = {text}\n")
        assert load_config(path).train.processes == value


def test_a_signal_to_the_first_process_stops_all_and_saves(tmp_path: Path) -> None:
    done = run(COMMAND, str(tmp_path), "warn")
    assert done.returncode == 0, done.stderr
    assert "stopped by SIGTERM and saved" in done.stderr
    assert checkpoint.steps_in(tmp_path)[-1] in (9, 10)
    assert done.stderr.count("training in") == 1  # the others are silent


def test_a_killed_process_ends_the_run_and_is_named_in_one_line(tmp_path: Path) -> None:
    done = run(COMMAND, str(tmp_path), "kill")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "process 1 (pid " in line and f"ended by {signal.SIGKILL.name}" in line
    assert "Traceback" not in done.stderr


def test_the_last_words_of_a_process_that_fails_are_said(tmp_path: Path) -> None:
    done = run(COMMAND, str(tmp_path), "fail")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.search(r"process 1 \(pid .* failed: KeyError: 'no such thing'", line), line
    assert "Traceback" not in done.stderr
    assert "in loss\n    raise KeyError" in (tmp_path / "log-1.txt").read_text()  # where it was


def test_an_error_of_all_processes_is_said_once(tmp_path: Path) -> None:
    """Two processes whose data are not there."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[train]\naccumulate = 2\nprocesses = 2\ndevice = "cpu"\n')
    done = run("from zipformer_cli import main; main()", "train", str(recipe))
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1 and "bpe.model" in done.stderr
    assert "Traceback" not in done.stderr
