"""What clients of a server may ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Limits:
    """What clients may ask for.

    Args:
        max_connections: Clients at a time; others are turned away.
        max_batch: Streams in one step.
        max_waiting_seconds: Audio of one client that may wait to be recognised; while more waits,
            nothing is read from that client.
        max_whole_seconds: Audio of a client at full context, which is heard in one piece.
        idle_timeout: Seconds without a message, or without reading one, before a client is closed.
        farewell_timeout: Seconds that a client may take to close when everything is said, and that
            clients have to finish when the server stops.

    Raises:
        ValueError: If one of them is not positive.
    """

    max_connections: int = 1000
    max_batch: int = 32
    max_waiting_seconds: float = 30.0
    max_whole_seconds: float = 60.0
    idle_timeout: float = 60.0
    farewell_timeout: float = 10.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")

    def share(self, processes: int, number: int) -> Self:
        """The limits of one of several processes, which have as many clients together.

        The first ones get one more if need be, as they are the first to be dealt clients.

        Raises:
            ValueError: If there are more processes than clients.
        """
        least, more = divmod(self.max_connections, processes)
        if not least:
            raise ValueError(
                f"{processes} processes are too many for {self.max_connections} clients at a time"
            )
        return replace(self, max_connections=least + (number < more))
