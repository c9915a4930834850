"""How the processes of a server stand, in memory that all of them see."""

from __future__ import annotations

from collections.abc import MutableSequence
from dataclasses import astuple, dataclass, field
from multiprocessing import get_context


@dataclass(frozen=True)
class Load:
    """What a server has to do.

    Args:
        streams: That are open.
        steps: Of streams, since the start.
        lag: Seconds of audio that wait for the stream that is furthest behind.
    """

    streams: int = 0
    steps: int = 0
    lag: float = 0.0


_COLUMNS = len(astuple(Load())) + 1  # and connections that have ended


@dataclass(frozen=True)
class Board:
    """A row for each process, which only that process writes.

    Args:
        row: Of this process.
        values: All rows, one after the other.
    """

    row: int = 0
    values: MutableSequence[float] = field(default_factory=lambda: [0.0] * _COLUMNS)

    @classmethod
    def shared(cls, count: int) -> list[Board]:
        """The same board for each of several processes, which get it when they are started."""
        values = get_context("spawn").RawArray("d", count * _COLUMNS)
        return [cls(row, values) for row in range(count)]

    def post(self, load: Load) -> None:
        """Writes how this process stands."""
        start = self.row * _COLUMNS
        self.values[start : start + _COLUMNS - 1] = astuple(load)

    def total(self) -> Load:
        """How all processes stand together, as they have posted it."""
        streams, steps, lag = (self.values[i::_COLUMNS] for i in range(_COLUMNS - 1))
        return Load(int(sum(streams)), int(sum(steps)), max(lag))

    def count_ended(self) -> None:
        """Counts a connection of this process that has ended."""
        self.values[(self.row + 1) * _COLUMNS - 1] += 1

    @property
    def ended(self) -> int:
        """How many connections of this row's process have ended."""
        return int(self.values[(self.row + 1) * _COLUMNS - 1])
