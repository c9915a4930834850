"""A listening socket whose connections another process has accepted."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from zipformer.serving.board import Board

READY = b"\0"  # ends what a process says once it can take connections


@dataclass(frozen=True)
class Seat:
    """The place of one of several processes that serve together.

    Args:
        line: Brings connections from the process in front; what is written on it goes there.
        address: Where that process listens.
        board: How the processes stand.
    """

    line: socket.socket
    address: tuple[str, int]
    board: Board


class DealtSocket(socket.socket):
    """To an event loop it listens like another socket, so TLS and websockets know nothing of it.

    Args:
        seat: Where the connections come from; its line is used up.

    Attributes:
        hung_up: Called when the process in front hangs up: there will be no more connections.
    """

    def __init__(self, seat: Seat) -> None:
        line = seat.line
        super().__init__(line.family, line.type, line.proto, line.detach())
        self._seat = seat
        self.hung_up: Callable[[], None] = lambda: None

    def tell(self, text: str) -> None:
        """Tells the process in front that connections may come, with a text for people."""
        self.sendall(text.encode() + READY)

    def getsockname(self) -> tuple[str, int]:
        """Where the process in front listens."""
        return self._seat.address

    def listen(self, backlog: int = 0, /) -> None:
        """Does nothing: the process in front listens."""

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection and the address of its other end.

        Raises:
            BlockingIOError: If there is none now.
            ConnectionAbortedError: If the other end has left already.
        """
        mark, files, _, _ = socket.recv_fds(self, 1, 1)
        if not mark:
            self.hung_up()
            raise BlockingIOError
        connection = _Connection(self._seat.board, files[0])
        try:
            return connection, connection.getpeername()
        except OSError as error:
            connection.close()
            raise ConnectionAbortedError from error


class _Connection(socket.socket):
    """Whose end is counted, so that the process in front knows how many each has."""

    def __init__(self, board: Board, file: int) -> None:
        super().__init__(fileno=file)
        self._board = board

    def close(self) -> None:
        if self.fileno() != -1:
            self._board.count_ended()
        super().close()
