"""Trains and decodes what a study lacks, several trainings at a time, each in processes of its own.

A training that fails leaves its reason in its folder, and the others go on. A signal goes on to the
processes that run: they save and end, and the same study goes on from there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch

from zipformer.files import write_text
from zipformer.study.training import FAILURE, Training
from zipformer.training.console import format_duration

ZIPFORMER = [sys.executable, "-m", "zipformer"]  # the command, whether it is installed or not
ROOT = Path(__file__).parents[2]  # of the package, which need not be installed
NEWS_SECONDS = 600.0  # between two lines about what runs
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Place:
    """What one training at a time may use.

    Args:
        cores: CPU cores; empty for all.
        gpu: Number of a GPU; None for none of its own.
    """

    cores: tuple[int, ...] = ()
    gpu: int | None = None

    def environment(self) -> dict[str, str]:
        """That of its processes."""
        found = dict(os.environ)
        path = (str(ROOT), found.get("PYTHONPATH"))
        found["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        if self.gpu is not None:
            found["CUDA_VISIBLE_DEVICES"] = str(self.gpu)
        return found


def places(jobs: int) -> list[Place]:
    """Cores and GPUs, shared evenly between so many trainings at a time."""
    gpus = torch.cuda.device_count()
    if not hasattr(os, "sched_getaffinity") or jobs == 1:
        return [Place(gpu=i % gpus if gpus > 1 else None) for i in range(jobs)]
    cores = sorted(os.sched_getaffinity(0))
    shares = [tuple(cores[i::jobs]) or (cores[i % len(cores)],) for i in range(jobs)]
    return [Place(share, i % gpus if gpus > 1 else None) for i, share in enumerate(shares)]


@dataclass
class Runner:
    """Works through the trainings of a study.

    Args:
        say: Gets a line for each thing that begins or ends.
        jobs: Trainings at a time.
    """

    say: Callable[[str], None]
    jobs: int = 1
    _waiting: deque[Training] = field(default_factory=deque)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _failed: list[Training] = field(default_factory=list)
    _signal: int = 0

    def run(self, trainings: Sequence[Training]) -> list[Training]:
        """Does what is missing of each.

        Returns:
            Those that failed.

        Raises:
            KeyboardInterrupt: After a signal, once the processes have ended.
        """
        self._waiting.extend(t for t in trainings if not t.is_trained or t.decode_words())
        threads = [threading.Thread(target=self._work, args=(p,)) for p in places(self.jobs)]
        with self._forwarding_signals():
            for thread in threads:
                thread.start()
            news = time.monotonic()
            while any(thread.is_alive() for thread in threads):
                time.sleep(POLL_SECONDS)
                if time.monotonic() - news >= NEWS_SECONDS:
                    news = time.monotonic()
                    self._tell(trainings)
        if self._signal:
            raise KeyboardInterrupt
        return self._failed

    def _work(self, place: Place) -> None:
        if place.cores:
            os.sched_setaffinity(0, place.cores)  # of this thread, and of what it starts
        while not self._signal:
            try:
                training = self._waiting.popleft()
            except IndexError:
                return
            if not self._do(training, place) and not self._signal:
                self._failed.append(training)

    def _do(self, training: Training, place: Place) -> bool:
        """Trains and decodes; False if that came to nothing."""
        training.folder.mkdir(parents=True, exist_ok=True)
        (training.folder / FAILURE).unlink(missing_ok=True)
        if not training.is_trained:
            self.say(f"{training.name}: training; it prints to {training.log}")
            if not self._call(training, training.train_words(), place):
                return False
            if not training.is_trained:  # stopped by a signal of its own
                self.say(f"{training.name}: stopped at {100 * training.done:.0f} %")
                return False
        for words in training.decode_words():
            self.say(f"{training.name}: decoding")
            if not self._call(training, words, place):
                return False
        return True

    def _call(self, training: Training, words: list[str], place: Place) -> bool:
        began = time.monotonic()
        with training.log.open("ab") as log:
            start = log.tell()
            process = subprocess.Popen(
                [*ZIPFORMER, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=place.environment(),
                start_new_session=True,  # a Ctrl-C reaches it once, from here
            )
            self._running[training.name] = process
            if self._signal:
                process.send_signal(self._signal)
            status = process.wait()
            del self._running[training.name]
        spent = format_duration(time.monotonic() - began)
        if status == 0 or self._signal:
            self.say(f"{training.name}: {words[0]} ended after {spent}")
            return status == 0
        reason = _last_line(training.log, start) or f"exit status {status}"
        write_text(training.folder / FAILURE, f"{words[0]}: {reason}")
        self.say(f"{training.name}: {words[0]} failed after {spent}: {reason}")
        return False

    def _tell(self, trainings: Sequence[Training]) -> None:
        now = [t for t in trainings if t.name in self._running]
        for training in now:
            self.say(f"{training.name}: {100 * training.done:.0f} % trained")

    @contextmanager
    def _forwarding_signals(self) -> Iterator[None]:
        def forward(number: int, _: FrameType | None) -> None:
            self._signal = number
            for process in list(self._running.values()):
                process.send_signal(number)

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, forward) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _last_line(log: Path, start: int) -> str:
    """The last line that a command printed, which says why it ended."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
