"""Everything that is missing is done, several at a time; what fails stops nothing else."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from zipformer.study import running
from zipformer.study.description import Study
from zipformer.study.running import FAILURE, Runner, places
from zipformer.study.training import Training, trainings_of

# Stands for the command: trains by leaving a checkpoint, and notes what it was asked for.
FAKE = """
import json, os, pathlib, signal, sys, time
verb, *words = sys.argv[1:]
here = pathlib.Path(__file__).parent
name = (words[words.index("--train.exp-dir") + 1] if verb == "train" else words[0]).split("/")[-1]
cores = sorted(os.sched_getaffinity(0))
with open(here / "calls.jsonl", "a") as file:
    file.write(json.dumps([verb, name, cores]) + "\\n")
plan = json.loads((here / "plan.json").read_text()).get(name, "")
print("working on", name)
if plan == "fail":
    sys.exit("error: the loss is not finite")
if plan == "wait":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    (here / "waiting").touch()
    time.sleep(60)
if plan == "together":
    (here / f"{name}.here").touch()
    while len(list(here.glob("*.here"))) < 2:
        time.sleep(0.01)
if verb == "train":
    (pathlib.Path(words[words.index("--train.exp-dir") + 1]) / "epoch-2.pt").touch()
"""

Planner = Callable[..., None]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planner:
    """Says what the fake command does with each training; nothing special by default."""
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(running, "ZIPFORMER", [sys.executable, str(tmp_path / "fake.py")])

    def write(**plans: str) -> None:
        named = {name.replace("_", "-"): what for name, what in plans.items()}
        (tmp_path / "plan.json").write_text(json.dumps(named))

    write()
    return write


def calls(tmp_path: Path) -> list[list[str]]:
    return [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]


def run(study: Study, jobs: int = 1) -> tuple[list[Training], list[str]]:
    study.exp_dir.mkdir(exist_ok=True)
    said: list[str] = []
    return Runner(said.append, jobs).run(trainings_of(study)), said


def test_each_training_is_trained_and_then_decoded(
    study: Study, plan: Planner, tmp_path: Path
) -> None:
    failed, said = run(study)
    assert failed == []
    names = ["menu-1", "none-1", "menu-2", "none-2"]
    assert [c[:2] for c in calls(tmp_path)] == [
        [verb, name] for name in names for verb in ("train", "decode")
    ]
    assert "menu-1: training" in said[0]
    assert (study.exp_dir / "menu-1.log").read_text() == "working on menu-1\n" * 2


def test_what_is_done_is_skipped(study: Study, plan: Planner, tmp_path: Path) -> None:
    for training in trainings_of(study)[:3]:
        training.folder.mkdir(parents=True)
        (training.folder / "epoch-2.pt").touch()
    run(study)
    verbs = [c[:2] for c in calls(tmp_path)]
    assert [name for verb, name in verbs if verb == "train"] == ["none-2"]


def test_a_failure_leaves_its_reason_and_the_others_go_on(
    study: Study, plan: Planner, tmp_path: Path
) -> None:
    plan(none_1="fail")
    failed, said = run(study)
    assert [t.name for t in failed] == ["none-1"]
    assert failed[0].failure == "train: error: the loss is not finite"
    assert any("none-1: train failed" in line for line in said)
    assert ["decode", "none-1"] not in [c[:2] for c in calls(tmp_path)]
    assert ["decode", "none-2"] in [c[:2] for c in calls(tmp_path)]
    plan()
    assert run(study)[0] == []
    assert not (failed[0].folder / FAILURE).exists()


def test_as_many_run_at_a_time_as_there_are_jobs(
    study: Study, plan: Planner, tmp_path: Path
) -> None:
    plan(menu_1="together", none_1="together")  # each waits for the other
    assert run(study, jobs=2)[0] == []


def test_jobs_share_the_cores() -> None:
    cores = os.sched_getaffinity(0)
    assert [place.cores for place in places(1)] == [()]
    shared = [set(place.cores) for place in places(2)]
    if len(cores) > 1:
        assert shared[0] | shared[1] == cores and not shared[0] & shared[1]
    assert all(place.cores for place in places(5))
    assert os.sched_getaffinity(0) == cores


def test_a_signal_reaches_what_runs_and_nothing_new_begins(
    study: Study, plan: Planner, tmp_path: Path
) -> None:
    plan(menu_1="wait")

    def interrupt() -> None:
        while not (tmp_path / "waiting").exists():
            ended.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    ended = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(study)
    thread.join()
    assert [c[:2] for c in calls(tmp_path)] == [["train", "menu-1"]]
    assert not (study.exp_dir / "menu-1" / FAILURE).exists()
