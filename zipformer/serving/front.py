"""Several processes that serve at one address, for more than one core.

This process listens and deals every connection to the process that has the fewest; from then on
client and process talk directly, nothing passes through here. Each of them is a whole server with
its own model, which never hears of the others but for their load.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

from zipformer.serving.board import Board
from zipformer.serving.dealt_socket import READY, Seat
from zipformer.serving.listening import explain

logger = logging.getLogger(__name__)

BACKLOG = 1024  # connections that wait until they are dealt
PATIENCE = 15.0  # seconds in which a process must end; its clients have less to finish
PAUSE = 1.0  # seconds, when there are no more files for connections


@dataclass
class _Hand:
    """One of the processes, as the one in front sees it."""

    process: BaseProcess
    line: socket.socket
    board: Board
    dealt: int = 0

    @property
    def held(self) -> int:
        """Connections that it has."""
        return self.dealt - self.board.ended

    def take(self, connection: socket.socket) -> None:
        """Passes a connection on; it is dropped if the process does not take any."""
        try:
            socket.send_fds(self.line, [b"+"], [connection.fileno()])
        except OSError as error:
            logger.warning("process %d takes no connections: %s", self.board.row + 1, error)
        else:
            self.dealt += 1

    async def ready(self) -> str | None:
        """What it says when it can take connections; None if it ends before."""
        said = b""
        while not said.endswith(READY):
            more = await asyncio.get_running_loop().sock_recv(self.line, 4096)
            if not more:
                return None
            said += more
        return said.removesuffix(READY).decode()

    async def ended(self) -> None:
        """Waits until it says nothing more, which is until it has ended."""
        await asyncio.get_running_loop().sock_recv(self.line, 1)

    async def stop(self) -> None:
        """Lets it finish, and ends it if it does not."""
        self.line.close()
        await asyncio.to_thread(self.process.join, PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def serve_in_processes(
    count: int,
    work: Callable[[Seat], None],
    host: str,
    port: int,
    started: Callable[[str], None],
) -> None:
    """Serves until SIGINT or SIGTERM, from the main thread.

    Args:
        count: Of processes.
        work: What each does, a function that can be pickled: it serves what comes to its seat and
            tells when it is ready. Errors are its own to print: the first process starts alone.
        host: Where to listen.
        port: 0 takes a free one.
        started: Called with what the first process says, when clients may connect.

    Raises:
        ValueError: If nobody can listen there, or if a process dies.
        SystemExit: If the first one cannot start; it has said why.
    """
    if not hasattr(socket, "send_fds"):
        raise ValueError("several processes need a system where sockets can be passed on: Unix")
    front = _Front(count, work, started)
    asyncio.run(front.run(host, port))
    if front.dead is None:
        return
    status = front.dead.process.exitcode
    if not front.open:
        raise SystemExit(status or 1)
    number = front.dead.board.row + 1
    raise ValueError(f"process {number} of {count} ended with status {status}: all have stopped")


class _Front:
    """What listens and deals."""

    def __init__(
        self, count: int, work: Callable[[Seat], None], started: Callable[[str], None]
    ) -> None:
        self._boards = Board.shared(count)
        self._work, self._started = work, started
        self._hands: list[_Hand] = []
        self.open = False  # whether clients may connect
        self.dead: _Hand | None = None  # the process that ended without being asked to

    async def run(self, host: str, port: int) -> None:
        """Serves until a signal comes or a process ends."""
        listeners = await _listen(host, port)
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        tasks = [asyncio.create_task(t) for t in (stopped.wait(), self._serve(listeners))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for listener in listeners:
                listener.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(hand.stop() for hand in self._hands))

    async def _serve(self, listeners: Sequence[socket.socket]) -> None:
        """Until a process ends."""
        address = listeners[0].getsockname()[:2]
        said = []
        for boards in self._boards[:1], self._boards[1:]:
            new = [_start(self._work, address, board) for board in boards]
            self._hands += new
            for hand in new:
                said.append(await hand.ready())
                if said[-1] is None:
                    self.dead = hand
                    return
        self.open = True
        self._started(said[0] or "")
        dealing = [asyncio.create_task(_deal(one, self._hands)) for one in listeners]
        ends = {asyncio.create_task(hand.ended()): hand for hand in self._hands}
        try:
            done, _ = await asyncio.wait([*dealing, *ends], return_when=asyncio.FIRST_COMPLETED)
            self.dead = next((ends[task] for task in done if task in ends), None)
            for task in done:
                task.result()
        finally:
            for task in (*dealing, *ends):
                task.cancel()


async def _listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address that the host has, as an event loop opens them."""
    loop = asyncio.get_running_loop()
    with explain(host, port):
        bound = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
        listeners = [one.dup() for one in bound.sockets]
        bound.close()
        for listener in listeners:
            listener.listen(BACKLOG)
            listener.setblocking(False)
    return listeners


def _start(work: Callable[[Seat], None], address: tuple[str, int], board: Board) -> _Hand:
    """Starts one of the processes."""
    ours, theirs = socket.socketpair()
    seat = Seat(theirs, address, board)
    process = get_context("spawn").Process(target=work, args=(seat,), daemon=True)
    process.start()
    theirs.close()
    ours.setblocking(False)
    return _Hand(process, ours, board)


async def _deal(listener: socket.socket, hands: Sequence[_Hand]) -> None:
    """Gives every new connection to the process that has the fewest."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError as error:
            logger.warning("no connection can be taken: %s", error)
            await asyncio.sleep(PAUSE)
            continue
        with connection:
            min(hands, key=lambda hand: hand.held).take(connection)
