"""Every client gets the words of its own audio, whatever the other clients do."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from serving.fake_server import bounded
from tiny_run import tiny_run
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from zipformer import Context
from zipformer.serving.limits import Limits
from zipformer.serving.offer import Offer
from zipformer.serving.running import serving
from zipformer.serving.server import Server
from zipformer.streaming import Recognizer, Stream

CONTEXT = Context(32, 128, 64)
BAD = {
    "odd length": (b"abcde", 1007, "5 bytes are not float32"),
    "nan": (np.array([0, np.nan], "<f4").tobytes(), 1007, "sample 1 of 2 is nan"),
    "infinite": (np.array([-np.inf], "<f4").tobytes(), 1007, "sample 0 of 1 is -inf"),
    "16-bit scale": (np.array([0, 0, 3e4], "<f4").tobytes(), 1007, "divided by 32768"),
    "text": ("hello", 1003, "unknown text 'hello'"),
    "empty text": ("", 1003, "then the text Done"),
}


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.of(tiny_run(tmp_path_factory.mktemp("run")), CONTEXT)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def alone(recognizer: Recognizer, samples: np.ndarray) -> str:
    stream = recognizer.open()
    stream.push(samples)
    return stream.close().text


@asynccontextmanager
async def running(recognizer: Recognizer, **limits: Any) -> AsyncIterator[Server]:
    server = await Server(Offer.only(recognizer), Limits(**limits)).start(port=0)
    try:
        yield server
    finally:
        await server.stop()


def open_client(server: Server) -> connect:
    return connect(server.uri, compression=None, proxy=None, close_timeout=5)


def cut(samples: np.ndarray, sizes: Sequence[int]) -> Iterator[bytes]:
    """Messages of so many samples, over and over."""
    start, count = 0, 0
    while start < len(samples):
        size = sizes[count % len(sizes)]
        yield samples[start : start + size].tobytes()
        start, count = start + size, count + 1


async def answers(client: ClientConnection) -> list[dict[str, Any]]:
    """All messages up to ``Done!``."""
    found = []
    while (message := await client.recv()) != "Done!":
        found.append(json.loads(message))
    return found


async def call(
    server: Server, samples: np.ndarray, sizes: Sequence[int] = (1600,), pause: float = 0.0
) -> list[dict[str, Any]]:
    async with open_client(server) as client:
        for message in cut(samples, sizes):
            await client.send(message)
            await asyncio.sleep(pause)
        await client.send("Done")
        return await answers(client)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def how_it_ended(client: ClientConnection) -> tuple[int | None, str | None, str]:
    """Close code, reason and error message."""
    error = ""
    with suppress(ConnectionClosed):
        while True:
            message = await client.recv()
            error = error or (json.loads(message).get("error", "") if message != "Done!" else "")
    return client.close_code, client.close_reason, error


@pytest.mark.parametrize("max_batch", [1, 2, 64])
@bounded
async def test_many_clients_at_once_get_their_own_words(
    recognizer: Recognizer, max_batch: int
) -> None:
    lengths = (3.0, 1.0, 0.0, 2.2, 0.005, 1.7, 4.1)
    audio = [sound(seconds, seed) for seed, seconds in enumerate(lengths)]
    sizes = [(1600,), (1, 7, 333), (160,), (48_000,), (3,), (5121, 17), (250, 16_001)]
    async with running(recognizer, max_batch=max_batch) as server:
        calls = (call(server, a, s) for a, s in zip(audio, sizes, strict=True))
        heard = await asyncio.gather(*calls)
    wanted = [alone(recognizer, samples) for samples in audio]
    assert [messages[-1]["text"] for messages in heard] == wanted
    assert sum(map(len, wanted)) > 50


@bounded
async def test_messages_tell_what_a_stream_tells(recognizer: Recognizer) -> None:
    samples = sound(3.0)
    stream = recognizer.open()
    stream.push(samples)
    result = stream.close()
    async with running(recognizer) as server:
        messages = await call(server, samples, pause=0.005)
    last = messages[-1]
    assert [token.replace(" ", "▁") for token in last["tokens"]] == [
        recognizer.tokens[token] for token in result.tokens
    ]
    assert last["timestamps"] == pytest.approx([0.04 * frame for frame in result.frames])
    assert last["confidence"] == pytest.approx(np.exp(result.log_probs), abs=1e-4)
    for message in messages:
        ends = message is last
        assert all(message[key] is ends for key in ("is_final", "final", "is_eof"))
        assert (message["segment"], message["start_time"]) == (0, 0)
        assert last["text"].startswith(message["text"])
    assert len(messages) > 3 and any(message["provisional"] for message in messages)
    assert all(a != b for a, b in zip(messages[:-2], messages[1:-1], strict=True))


@pytest.mark.parametrize("name", BAD)
@bounded
async def test_what_cannot_be_heard_is_refused_with_a_reason_and_others_go_on(
    recognizer: Recognizer, name: str
) -> None:
    message, code, reason = BAD[name]
    samples = sound(2.0)
    async with running(recognizer) as server:
        good = asyncio.create_task(call(server, samples, (800,), pause=0.001))
        async with open_client(server) as client:
            await client.send(samples[:8000].tobytes())
            await client.send(message)
            ended = await how_it_ended(client)
        assert ended[0] == code and reason in ended[2]
        assert ended[1] and ended[2].startswith(ended[1])
        assert (await good)[-1]["text"] == alone(recognizer, samples)
        await until(lambda: server.worker.open_streams == 0)


@bounded
async def test_an_idle_client_is_closed_but_not_one_that_waits_for_its_words(
    recognizer: Recognizer,
) -> None:
    async with running(recognizer, idle_timeout=0.6) as server:
        async with open_client(server) as client:
            await client.send(sound(0.1).tobytes())
            code, reason, error = await how_it_ended(client)
        assert (code, reason) == (1008, "no message for 0.6 s") and error == reason
        async with open_client(server) as client:  # what it has said before is not lost
            await client.send(sound(2.0).tobytes())
            answers = []
            with suppress(ConnectionClosed):
                while True:
                    answers.append(await client.recv())
            said, done, error = answers[-3:]
        assert json.loads(said)["is_eof"] and done == "Done!" and "no message" in error
        assert json.loads(said)["text"] == alone(recognizer, sound(2.0))
        slow = call(server, sound(2.0), (1600,), pause=0.05)  # longer than the limit in all
        assert (await slow)[-1]["text"] == alone(recognizer, sound(2.0))
        await until(lambda: server.worker.open_streams == 0)


@bounded
async def test_one_client_too_many_is_turned_away_until_there_is_room(
    recognizer: Recognizer,
) -> None:
    async with running(recognizer, max_connections=2) as server:
        async with open_client(server), open_client(server):
            await until(lambda: server.worker.open_streams == 2)
            with pytest.raises(InvalidStatus) as refused:
                async with open_client(server):
                    pass
            assert refused.value.response.status_code == 503
            assert b"2 clients are connected: try again later" in refused.value.response.body
        await until(lambda: server.worker.open_streams == 0)
        assert (await call(server, sound(1.0)))[-1]["text"] == alone(recognizer, sound(1.0))


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            Limits(**{name: value})


@bounded
async def test_nothing_may_follow_the_end_but_the_words_come_all_the_same(
    recognizer: Recognizer,
) -> None:
    samples = sound(2.0)
    async with running(recognizer) as server, open_client(server) as client:
        await client.send(samples.tobytes())
        await client.send("Done")
        await client.send(sound(1.0, seed=9).tobytes())
        assert (await answers(client))[-1]["text"] == alone(recognizer, samples)
        code, _, error = await how_it_ended(client)
        assert code == 1008 and "nothing may follow Done" in error


@bounded
async def test_a_client_that_sends_faster_than_it_is_heard_has_to_wait(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, most = sound(20.0), 0
    async with running(recognizer, max_waiting_seconds=1.0) as server:
        hear = server.worker.accept

        def watched(session: Any, piece: np.ndarray) -> None:
            nonlocal most
            hear(session, piece)
            most = max(most, session.waiting)

        monkeypatch.setattr(server.worker, "accept", watched)
        messages = await call(server, samples, (4000,))
    assert messages[-1]["text"] == alone(recognizer, samples)
    assert 16_000 < most <= 16_000 + 4000


@bounded
async def test_who_does_not_read_is_closed_and_disturbs_nobody(recognizer: Recognizer) -> None:
    async with running(recognizer, idle_timeout=1.0, farewell_timeout=0.5) as server:
        shouting = asyncio.create_task(asyncio.to_thread(shout, server.uri))
        good = [await call(server, sound(2.0)) for _ in range(3)]
        assert {messages[-1]["text"] for messages in good} == {alone(recognizer, sound(2.0))}
        assert await shouting, "it was never closed"
        await until(lambda: server.worker.open_streams == 0)


def shout(uri: str, seconds: float = 40.0) -> bool:
    """Speaks the protocol on a bare socket without ever reading.

    Returns:
        Whether the server has closed the connection, within the time given.
    """
    host, port = uri.removeprefix("ws://").split(":")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    message = sound(0.5).tobytes()
    frame = b"\x82\xff" + len(message).to_bytes(8, "big") + bytes(4) + message
    deadline = time.monotonic() + seconds
    with socket.socket() as deaf:
        deaf.settimeout(seconds)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect((host, int(port)))
        deaf.sendall(f"GET / HTTP/1.1\r\nHost: here\r\n{upgrade}{key}\r\n".encode())
        try:
            while time.monotonic() < deadline:
                deaf.sendall(frame)
        except OSError:
            return time.monotonic() < deadline
    return False


@bounded
async def test_a_recognizer_that_fails_once_is_a_matter_of_that_step(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(recognizer) as server:
        with monkeypatch.context() as broken:
            broken.setattr(Recognizer, "_step", lambda *_: 1 / 0)
            async with open_client(server) as client:
                await client.send(sound(2.0).tobytes())
                code, _, error = await how_it_ended(client)
        assert (code, error) == (1011, "the recognizer failed")
        await until(lambda: server.worker.open_streams == 0)
        assert (await call(server, sound(2.0)))[-1]["text"] == alone(recognizer, sound(2.0))


@bounded
async def test_a_server_that_stops_finishes_what_is_complete(recognizer: Recognizer) -> None:
    samples = sound(20.0)
    server = await Server(Offer.only(recognizer), Limits()).start(port=0)
    async with open_client(server) as complete, open_client(server) as talking:
        for client in (complete, talking):
            await client.send(samples.tobytes())
        await complete.send("Done")
        await until(lambda: any(s.ended for s in server.worker._sessions))
        stopping = asyncio.create_task(server.stop())
        assert (await answers(complete))[-1]["text"] == alone(recognizer, samples)
        assert await how_it_ended(talking) == (1001, *2 * ("the server is stopping",))
        await complete.close()
        await stopping
        with pytest.raises(OSError):
            async with open_client(server):
                pass


GARBAGE: dict[int, str | bytes] = {4: b"abc", 5: "garbage", 6: b"\0\0\0\0\xff\xff\xff\x7f"}


async def misbehave(server: Server, kind: int, samples: np.ndarray) -> None:
    """A client of one of several bad kinds."""
    if kind == 0:  # no websocket at all
        host, port = server.uri.removeprefix("ws://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        await asyncio.sleep(0.02)
        writer.close()
        return
    async with open_client(server) as client:
        with suppress(ConnectionClosed):
            if kind >= 3:
                for message in cut(samples[: 1000 * kind], (997,)):
                    await client.send(message)
            if kind in (4, 5, 6):
                await client.send(
                    [b"abc", "garbage", samples[:9].tobytes() + b"\xff\xff\xff\x7f"][kind - 4]
                )
                await how_it_ended(client)
            elif kind == 7:
                await client.send("Done")  # and does not wait for the words
            elif kind == 8:
                await how_it_ended(client)  # sends nothing more and is closed for it
        if kind in (1, 3, 7):
            client.transport.abort()


@pytest.mark.slow
@bounded
async def test_a_thousand_bad_clients_leave_nothing_behind(recognizer: Recognizer) -> None:
    samples = sound(60.0)
    wanted = alone(recognizer, samples)
    async with running(recognizer, idle_timeout=1.5) as server:
        await call(server, sound(1.0))
        await until(lambda: server.worker.open_streams == 0)
        gc.collect()
        streams, tasks = count(Stream), len(asyncio.all_tasks())
        good = asyncio.create_task(call(server, samples, (1601,), pause=0.01))
        gate = asyncio.Semaphore(50)

        async def one(number: int) -> None:
            async with gate:
                await misbehave(server, number % 9, samples)

        await asyncio.gather(*(one(number) for number in range(1000)))
        assert (await good)[-1]["text"] == wanted
        await until(lambda: server.worker.open_streams == 0)
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        gc.collect()
        assert count(Stream) == streams
        assert not server._clients and not server.worker._pending


@pytest.mark.slow
@bounded
async def test_five_hundred_visitors_leave_no_memory_and_no_open_files(
    recognizer: Recognizer,
) -> None:
    async def visit(server: Server, number: int) -> None:
        async with open_client(server) as client:
            await client.send(sound(0.5).tobytes())
            if number % 2:
                await client.send("Done")
                await answers(client)
            else:
                client.transport.abort()

    async def visits(server: Server, number: int) -> tuple[int, int]:
        """Bytes and open files after so many."""
        for start in range(0, number, 10):
            await asyncio.gather(*(visit(server, i) for i in range(start, start + 10)))
        await until(lambda: not server._clients and server.worker.open_streams == 0)
        await asyncio.sleep(0.2)  # the sockets' own tasks have ended
        gc.collect()
        return tracemalloc.get_traced_memory()[0], len(os.listdir("/proc/self/fd"))

    async with running(recognizer) as server:
        tracemalloc.start()
        try:
            memory, files = await visits(server, 100)
            later, open_later = await visits(server, 500)
        finally:
            tracemalloc.stop()
    assert open_later == files
    # Python keeps some small objects for later; a message or a stream that is kept is far larger.
    assert (later - memory) / 500 < 500, "bytes that a visitor leaves behind"


def count(kind: type) -> int:
    return sum(type(thing) is kind for thing in gc.get_objects())


STOCK_CLIENT = Path(sys.executable).with_name("sherpa-onnx-online-websocket-client")


@pytest.mark.sherpa
@pytest.mark.skipif(not STOCK_CLIENT.exists(), reason="needs sherpa-onnx-bin")
def test_the_stock_client_gets_its_words(recognizer: Recognizer, tmp_path: Path) -> None:
    samples = (sound(2.0) * 32768).round().clip(-32768, 32767) / 32768
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="PCM_16")
    with serving(recognizer) as server:
        port = server.uri.rsplit(":", 1)[1]
        command = [STOCK_CLIENT, f"--server-port={port}", "--seconds-per-message=0.05"]
        done = subprocess.run(
            [*map(str, command), str(tmp_path / "a.wav")],
            capture_output=True,
            text=True,
            timeout=60,
        )
    said = [line[line.index("{") :] for line in done.stderr.splitlines() if "{" in line]
    assert done.returncode == 0, done.stderr
    assert json.loads(said[-1])["text"] == alone(recognizer, samples.astype(np.float32))
    assert len(said) > 2
