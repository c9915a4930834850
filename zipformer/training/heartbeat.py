"""Processes tell each other, through the store that they met in, that they are alive.

A collective waits for all processes, and nothing tells it that one of them is gone: NCCL hangs, and
so does gloo if a machine loses its power. So a thread of every process writes a beat every
``INTERVAL`` seconds and reads those of the others. Another thread counts how long each has been
silent, by its own clock: it does not touch the store, which may hang as well.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Self

import torch.distributed as dist

from zipformer.training.console import log_name
from zipformer.training.lost import ProcessLostError, end_unless

INTERVAL = 2.0  # seconds between two beats
# Seconds without a beat after which a process counts as gone. What holds Python's lock in one long
# call of C stops the beats as well; so it is not to do that for more than half a minute.
SILENCE = 40.0
# The same once a collective has failed, which is a sign of its own.
SILENCE_AFTER_FAILURE = 3 * INTERVAL
LEFT, FAILED = "left", "failed: "  # instead of a beat; the last words follow the second
MOST_WORDS = 1000  # characters of an error


class Heartbeat:
    """The beats of one process, and its ear for the others.

    As a context manager it beats and listens inside. Whoever leaves it by an error tells the others
    why; those of them whose main thread does not notice end within ``GRACE`` seconds.

    Args:
        store: That all processes reach; a connection of its own, since other calls may wait in it.
        rank: Of this process.
        world_size: Processes.

    Raises:
        ProcessLostError: On leaving by the error of a collective, in place of it, if another
            process is gone: naming that, its machine and its last words.
    """

    def __init__(self, store: dist.Store, rank: int, world_size: int) -> None:
        self.store, self.rank = store, rank
        self.others = [other for other in range(world_size) if other != rank]
        self.heard = dict.fromkeys(self.others, "")  # the newest of each
        self.silent = dict.fromkeys(self.others, 0.0)  # seconds
        self.lost = ""  # who is gone, and why
        self.places: dict[int, str] = {}
        self._main_left, self._found = threading.Event(), threading.Event()
        self._last_words, self._silence = LEFT, SILENCE
        self._talker = threading.Thread(target=self._talk, daemon=True)
        # Before anyone listens: what a process of before a restart wrote here is gone then.
        store.set(f"beat {rank}", "0")
        store.set(f"place {rank}", f"pid {os.getpid()} on {socket.gethostname()}")

    def __enter__(self) -> Self:
        """To be entered when all processes have met."""
        self.places = {other: self.store.get(f"place {other}").decode() for other in self.others}
        self._talker.start()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        lost = self._who_is_lost() if of_a_collective(error) else ""
        if error is not None and not lost:  # who is lost has said it, or is silent
            self._last_words = f"{FAILED}{type(error).__name__}: {error}"[:MOST_WORDS]
        self._main_left.set()
        self._talker.join(2 * INTERVAL)  # it hangs if who keeps the store is gone
        if lost:
            raise ProcessLostError(lost) from error

    def _who_is_lost(self) -> str:
        """Waits until somebody is found; "" if all are heard."""
        self._silence = SILENCE_AFTER_FAILURE
        self._found.wait(SILENCE_AFTER_FAILURE + 2 * INTERVAL)
        return self.lost

    def _talk(self) -> None:
        mine, theirs = f"beat {self.rank}", [f"beat {other}" for other in self.others]
        count, leaving = 0, False
        while not leaving:
            leaving = self._main_left.wait(INTERVAL)
            count += 1
            try:
                self.store.set(mine, self._last_words if leaving else str(count))
                beats = self.store.multi_get(theirs)
            except RuntimeError:  # who keeps the store is gone, or another one: counts as silence
                continue
            self.heard = {o: b.decode() for o, b in zip(self.others, beats, strict=True)}

    def _watch(self) -> None:
        before, then = self.heard, time.monotonic()
        while not self._main_left.wait(INTERVAL / 2):
            heard, now = self.heard, time.monotonic()
            # Where this process itself was stopped for long, the others had no chance to be heard.
            passed = min(now - then, 2 * INTERVAL)
            for other, said in heard.items():
                alive = said != before[other] or said == LEFT
                self.silent[other] = 0.0 if alive else self.silent[other] + passed
            self.lost = self._judge(heard)
            if self.lost:
                self._found.set()
                end_unless(self._main_left, self.lost)
                return
            before, then = heard, now

    def _judge(self, heard: dict[int, str]) -> str:
        """Who is gone by what was heard; "" if nobody is."""
        for other, said in heard.items():
            if said.startswith(FAILED):
                return f"{self._name(other)} {said} ({log_name(other)} has more)"
        silent = [other for other in self.others if self.silent[other] > self._silence]
        if not silent:
            return ""
        names = ", ".join(map(self._name, silent[:4])) + (" and others" if silent[4:] else "")
        return (
            f"nothing was heard for {self._silence:g} seconds from {names}: killed, stopped, or "
            "not to be reached"
        )

    def _name(self, rank: int) -> str:
        return f"process {rank} ({self.places.get(rank, '')})"


def of_a_collective(error: BaseException | None) -> bool:
    """Whether an error is one that a collective raises when another process is gone."""
    if isinstance(error, dist.DistError):  # of NCCL, and of the store
        return True
    words = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
