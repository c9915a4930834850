"""How far a long step is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Counts up to ``total`` and shows it on stderr, with the time that is left.

    A step that is over before the first line says nothing.

    Args:
        title: What is being done.
        total: When it is finished; 0 if nobody knows.
        unit: What is counted.
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.count = 0
        self._began = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total or None,
                desc=title,
                unit=unit,
                unit_scale=True,
                dynamic_ncols=True,
                leave=False,
                delay=1.0,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, count: int) -> None:
        """So much more is done."""
        self.count += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(f"{self.title}: {self._so_far()}", file=sys.stderr, flush=True)

    def _so_far(self) -> str:
        if not self.total:
            return f"{self.count} {self.unit}"
        spent = self._last_line - self._began
        left = round(spent * max(0, self.total - self.count) / max(1, self.count))
        share = 100 * self.count / self.total
        return (
            f"{self.count} of {self.total} {self.unit} ({share:.0f} %), "
            f"{left // 60}:{left % 60:02d} min left"
        )


def shown(items: Iterable[T], title: str, total: int, unit: str) -> Iterator[T]:
    """The items, counted as they pass."""
    with Progress(title, total, unit) as progress:
        for item in items:
            yield item
            progress.add(1)
