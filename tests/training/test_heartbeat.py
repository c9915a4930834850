"""A process that is gone is named by those that need it, in whatever way it went."""

from __future__ import annotations

import ctypes
import re
import signal
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from training.together import fit_and_die, hurry, run_unwatched

from zipformer.training import heartbeat
from zipformer.training.distributed import Processes
from zipformer.training.heartbeat import Heartbeat, of_a_collective

NAME = r"process 1 \(pid \d+ on \S+\)"


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("kill", -signal.SIGKILL, rf"nothing was heard for .* seconds from {NAME}"),
        ("fail", 1, rf"{NAME} failed: KeyError: 'no such thing' \(log-1.txt has more\)"),
        # Its connections stay open, and the other one hangs in the collective.
        ("stop", None, rf"nothing was heard for 4 seconds from {NAME}.* hangs without it and ends"),
    ],
    ids=["killed", "failed", "stopped"],
)
def test_a_process_without_the_other_ends_and_names_it(
    tmp_path: Path, how: str, status: int | None, words: str
) -> None:
    assert run_unwatched(fit_and_die, tmp_path, how) == [1, status]
    log = (tmp_path / "log.txt").read_text()
    assert re.search(words, log), log


@pytest.mark.long
def test_silence_of_reason_is_borne(tmp_path: Path) -> None:
    """One long call that holds Python's lock, and a process that is through before the other."""
    assert run_unwatched(be_silent, tmp_path) == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def be_silent(folder: Path) -> None:
    hurry()
    processes = Processes.from_environment()
    with processes.connected(torch.device("cpu")):
        if processes.rank == 1:
            ctypes.PyDLL(None).usleep(2_400_000)
        processes.sum(1.0)
        if processes.rank == 0:
            time.sleep(1.5 * heartbeat.SILENCE)
        (folder / str(processes.rank)).touch()


def beats(count: int) -> Heartbeat:
    """Process 0 of so many, of which it has heard once."""
    found = Heartbeat(dist.HashStore(), 0, count)
    found.heard = dict.fromkeys(found.others, "1")
    return found


def test_all_who_are_silent_are_named_but_not_those_who_have_left() -> None:
    mine = beats(4)
    assert mine._judge(mine.heard) == ""
    mine.silent = {1: 41.0, 2: 39.0, 3: 50.0}
    assert re.search(r"40 seconds from process 1 .*, process 3 ", mine._judge(mine.heard))
    assert "process 2" not in mine._judge(mine.heard)


def test_who_was_stopped_itself_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes pass between two looks at the clock, as they do for a program that is stopped."""
    clock = iter(range(0, 10**6, 600))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.02)
    monkeypatch.setattr(heartbeat, "end_unless", lambda left, why: None)
    mine = beats(2)
    looks = iter([False] * 3 + [True])
    monkeypatch.setattr(mine._main_left, "wait", lambda seconds: next(looks))
    mine._watch()
    assert mine.lost == "" and mine.silent == {1: pytest.approx(3 * 2 * 0.02)}


def test_errors_of_collectives_are_told_from_those_of_the_program() -> None:
    assert of_a_collective(RuntimeError("[pair.cc:5] Connection closed by peer [127.0.0.1]:5"))
    assert of_a_collective(dist.DistBackendError("NCCL error"))
    assert not of_a_collective(RuntimeError("shapes differ"))
    assert not of_a_collective(KeyError("gloo")) and not of_a_collective(None)
