"""Stopping on a signal without losing anything."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self, TypeVar

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], object] | int | None  # as signal.getsignal gives it


class Interrupted(Exception):
    """Raised inside ``StopSignals.interruptible`` when a stop is asked for."""


class StopSignals:
    """Turns SIGTERM, SIGINT and SIGUSR1 into a flag that the loop reads between two steps.

    A second SIGINT interrupts at once. Outside the main thread, where Python allows no handlers,
    it does nothing.
    """

    signals = tuple(
        getattr(signal, name)
        for name in ("SIGTERM", "SIGINT", "SIGUSR1")
        if hasattr(signal, name)  # not every system has all of them
    )

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Handler] = {}
        self._interruptible = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in self.signals}
            if hasattr(signal, "SIGCHLD"):
                self._previous[signal.SIGCHLD] = signal.getsignal(signal.SIGCHLD)
            for number in self.signals:
                signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        # A signal to the whole process group ends the loader's workers too, and PyTorch's handler
        # would then raise in the middle of whatever runs here, a step or a save.
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, lambda *_: None)
        if self._interruptible:
            raise Interrupted

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within it a stop raises ``Interrupted`` at once: for work that changes nothing."""
        self._interruptible = True
        try:
            if self.requested:
                raise Interrupted
            yield
        finally:
            self._interruptible = False

    def until_stopped(self, items: Iterator[T]) -> Iterator[T]:
        """Passes ``items`` on until a stop is asked for."""
        while not self.requested:
            try:
                item = next(items)
            except StopIteration:
                return
            except Exception:  # a worker that got the signal as well is gone
                if self.requested:
                    return
                raise
            yield item
