"""Connections are dealt evenly among processes, which all end together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import pytest

from zipformer.serving.board import Board, Load
from zipformer.serving.dealt_socket import DealtSocket, Seat
from zipformer.serving.front import serve_in_processes
from zipformer.serving.limits import Limits


def answer_with_row(seat: Seat) -> None:
    """Says the number of its process to every client; dies of a client that says so."""
    asyncio.run(_answer(seat))


async def _answer(seat: Seat) -> None:
    stopped, dealt = asyncio.Event(), DealtSocket(seat)
    dealt.hung_up = stopped.set

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes([seat.board.row]))
        if await reader.read(1) == b"!":
            os._exit(3)
        writer.close()

    server = await asyncio.start_server(serve, sock=dealt)
    dealt.tell(f"at {dealt.getsockname()[1]}")
    await stopped.wait()
    server.close()


def fail(message: str, seat: Seat) -> None:
    raise SystemExit(message)


def with_clients(act: Callable[[int], None], stop: bool = True) -> None:
    """Serves with two processes; stops when what is done with the port is done, or has failed."""
    result: Future[None] = Future()

    def clients(port: int) -> None:
        try:
            result.set_result(act(port))
        except BaseException as error:
            result.set_exception(error)
        if stop or result.exception():
            os.kill(os.getpid(), signal.SIGTERM)

    def started(said: str) -> None:
        threading.Thread(target=clients, args=(int(said.split()[-1]),)).start()

    serve_in_processes(2, answer_with_row, "127.0.0.1", 0, started)
    result.result(timeout=30)


def connect(port: int) -> tuple[int, socket.socket]:
    """The process that a new client came to, and the client."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    return client.recv(1)[0], client


def leave(client: socket.socket) -> None:
    """Closes a client when its process has closed it, too."""
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    client.close()


@pytest.mark.slow
def test_a_connection_goes_to_the_process_that_has_the_fewest() -> None:
    def act(port: int) -> None:
        clients = [connect(port) for _ in range(4)]
        assert [row for row, _ in clients] == [0, 1, 0, 1]
        for row, client in clients:
            if row == 1:
                leave(client)
        clients += [connect(port) for _ in range(2)]
        assert [row for row, _ in clients[4:]] == [1, 1]
        for _, client in clients:
            client.close()

    with_clients(act)


@pytest.mark.slow
def test_if_one_dies_all_end() -> None:
    def act(port: int) -> None:
        for _ in range(50):  # clients that leave at once are forgotten, if not at once
            connect(port)[1].close()
        pair, deadline = [connect(port)] * 2, time.monotonic() + 30
        while {row for row, _ in pair} != {0, 1}:
            assert time.monotonic() < deadline, "one has been dealt more than the other for good"
            pair = [connect(port), connect(port)]
        client = connect(port)[1]
        client.send(b"!")
        client.recv(1)

    with pytest.raises(ValueError, match="process [12] of 2 ended with status 3: all have stopped"):
        with_clients(act, stop=False)


@pytest.mark.slow
def test_nothing_is_announced_if_the_first_cannot_start() -> None:
    work = partial(fail, "no such model")
    with pytest.raises(SystemExit) as ended:
        serve_in_processes(2, work, "127.0.0.1", 0, lambda said: pytest.fail("announced"))
    assert ended.value.code == 1


def test_a_port_that_is_taken_is_named_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen on 127.0.0.1, port {port}"):
            serve_in_processes(2, answer_with_row, "127.0.0.1", port, lambda said: None)


def test_a_board_adds_what_processes_post() -> None:
    first, second = Board.shared(2)
    first.post(Load(3, 100, 0.5))
    second.post(Load(4, 20, 1.5))
    second.count_ended()
    assert first.total() == second.total() == Load(7, 120, 1.5)
    assert (first.ended, second.ended) == (0, 1)


def test_processes_share_the_limit_of_clients() -> None:
    shares = [Limits(max_connections=8).share(3, number) for number in range(3)]
    assert [share.max_connections for share in shares] == [3, 3, 2]
    with pytest.raises(ValueError, match="3 processes are too many for 2 clients"):
        Limits(max_connections=2).share(3, 0)
