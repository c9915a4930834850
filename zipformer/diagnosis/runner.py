"""Runs checks one after another, in a process of their own.

A CUDA device that has gone wrong stays wrong for the process that used it, a kernel may hang, and
a crash ends its process. So checks run in another one, which is replaced after a check that failed,
and killed when a check takes too long. What it prints goes into a file.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from zipformer.diagnosis.check import Check, Outcome, Setting, Skip

LEAST_SECONDS = 5.0  # with less time left a check is not begun
START_SECONDS = 120.0  # for the process to import everything; no check is charged with it
PATIENCE = 5.0  # seconds between asking a process to end and killing it
PRINTED_LINES = 30  # the last ones, which tell of a crash


class Runner:
    """Runs checks within a limit of time.

    Args:
        setting: What all checks are told.
        seconds: For all of them together.
    """

    def __init__(self, setting: Setting, seconds: float) -> None:
        self.setting = setting
        self.seconds = seconds
        self._worker: _Worker | None = None

    def run(self, checks: Sequence[Check]) -> Iterator[Outcome]:
        """The outcome of each check as it ends, whatever became of those before it."""
        deadline = time.monotonic() + self.seconds
        try:
            for check in checks:
                yield self._run(check, deadline - time.monotonic())
        finally:
            self._stop()

    def _run(self, check: Check, left: float) -> Outcome:
        if check.why_cuda and self.setting.device != "cuda":
            return Outcome.of_skipped(check.name, f"needs a CUDA device: {check.why_cuda}")
        if left < LEAST_SECONDS:
            return Outcome.of_skipped(check.name, f"the {self.seconds:.0f} s for all were over")
        self._worker = self._worker or _Worker(self.setting)
        outcome = self._worker.ask(check, min(check.seconds, left))
        if outcome.failed:
            self._stop()
        return outcome

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        self._worker = None


class _Worker:
    """The process, seen from outside."""

    def __init__(self, setting: Setting) -> None:
        context = multiprocessing.get_context("spawn")  # a fork could not use CUDA
        self._connection, other = context.Pipe()
        self._log = setting.folder / "printed.txt"
        self._process = context.Process(target=_serve, args=(other, setting, self._log))
        self._process.start()
        other.close()
        if self._connection.poll(START_SECONDS):
            with suppress(EOFError):
                self._connection.recv()  # it is there

    def ask(self, check: Check, seconds: float) -> Outcome:
        """The outcome of a check; it fails if it takes longer, or if its process ends."""
        start = time.monotonic()
        printed_before = self._log.stat().st_size if self._log.exists() else 0
        try:
            self._connection.send(check)
            if self._connection.poll(seconds):
                answer = self._connection.recv()
                assert isinstance(answer, Outcome)
                return answer
            what = f"it took longer than {seconds:.0f} s"
        except (EOFError, ConnectionError):
            self._process.join()
            what = f"its process ended with exit status {self._process.exitcode}"
        took, printed = time.monotonic() - start, _last_lines(self._log, printed_before)
        return Outcome(check.name, False, False, what, took, {}, printed)

    def stop(self) -> None:
        """Ends the process, and those that it has started."""
        self._connection.close()
        self._signal(signal.SIGTERM)
        self._process.join(PATIENCE)
        self._signal(signal.SIGKILL)
        self._process.kill()  # if it had no group yet
        self._process.join()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        with suppress(ProcessLookupError):  # it has gone, with all others of its group
            os.killpg(self._process.pid, number)


def _serve(connection: Connection, setting: Setting, log: Path) -> None:
    """The process, seen from inside: a check comes, its outcome goes."""
    os.setsid()  # a group of its own, to be ended together
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    connection.send("ready")
    with suppress(EOFError):
        while True:
            connection.send(run_here(connection.recv(), setting))


def run_here(check: Check, setting: Setting) -> Outcome:
    """Runs a check in this process."""
    start = time.monotonic()
    try:
        found = check.work(setting)
    except Skip as why:
        return Outcome.of_skipped(check.name, str(why))
    except Exception as error:  # whatever it is, it is what the check has found
        note = f"{type(error).__name__}: {error}".partition("\n")[0]
        seconds, details = time.monotonic() - start, traceback.format_exc()
        return Outcome(check.name, False, False, note, seconds, {}, details)
    seconds = time.monotonic() - start
    return Outcome(check.name, True, False, found.note, seconds, found.facts)


def _last_lines(path: Path, start: int) -> str:
    """Of what a file holds from byte ``start`` on."""
    if not path.exists():
        return ""
    lines = path.read_bytes()[start:].decode(errors="replace").splitlines()
    return "\n".join(lines[-PRINTED_LINES:])
