"""A call ends with a transcript and its times, or says why there is none."""

from __future__ import annotations

import asyncio
import socket
import time
from http import HTTPStatus
from typing import Self

import numpy as np
import pytest
from serving.fake_server import Handler, ServerConnection, bounded, fake_server, hear, say

from zipformer.serving.client import CallFailed, transcribe

AUDIO = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)


@pytest.mark.parametrize("pace", ["realtime", "fast"])
@bounded
async def test_the_server_gets_the_audio_and_then_the_silence(pace: str) -> None:
    pieces: list[int] = []
    heard: list[np.ndarray] = []

    async def handler(client: ServerConnection) -> None:
        while isinstance(message := await client.recv(), bytes):
            heard.append(np.frombuffer(message, "<f4"))
            pieces.append(len(heard[-1]))
        await say(client, {"text": "one two", "is_eof": True})

    async with fake_server(handler) as uri:
        call = await transcribe(uri, AUDIO, pace, tail_seconds=0.5)
    assert pieces == [1600, 1600, 1600, 200, 8000]
    assert np.array_equal(np.concatenate(heard), np.concatenate([AUDIO, np.zeros(8000)]))
    assert call.text == "one two" and call.audio_seconds == 5000 / 16000
    assert call.started < call.last_audio < call.finished
    if pace == "realtime":
        assert call.wall_seconds >= call.audio_seconds and call.rtf >= 1
        assert 0 <= call.lateness <= call.wall_seconds


@bounded
async def test_segments_are_put_together_and_the_last_word_of_each_counts() -> None:
    answers = [(0, "o"), (0, "one"), (0, "one two"), (1, ""), (1, " three"), (3, "four")]

    async def handler(client: ServerConnection) -> None:
        await hear(client)
        await say(client, *({"segment": number, "text": text} for number, text in answers))

    async with fake_server(handler) as uri:
        call = await transcribe(uri, AUDIO, "fast")
    assert call.text == "one two three four"
    assert len(call.messages) == 6 and call.finished > call.last_audio  # without any is_eof


@bounded
async def test_the_last_message_is_what_counts_not_the_farewell() -> None:
    async def handler(client: ServerConnection) -> None:
        await hear(client)
        await client.send('{"text": "one", "is_eof": true}')
        await asyncio.sleep(0.3)
        await client.send("Done!")

    async with fake_server(handler) as uri:
        call = await transcribe(uri, AUDIO, "fast")
        assert time.perf_counter() - call.finished >= 0.3


class _Clockwork:
    """A connection on which every message that is sent takes a second, and the answers two."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def send(self, message: str | bytes) -> None:
        self.now += 1
        if message == "Done":
            self.ended.set()

    async def recv(self) -> str:
        await self.ended.wait()
        self.now += 2
        return "Done!"


@bounded
async def test_times_are_those_of_the_audio_without_the_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clockwork = _Clockwork()
    monkeypatch.setattr("zipformer.serving.client.connect", lambda *_, **__: clockwork)
    monkeypatch.setattr("zipformer.serving.client.time.perf_counter", lambda: clockwork.now)
    call = await transcribe("ws://clockwork", AUDIO, "fast", tail_seconds=0.5)
    assert (call.started, call.last_audio, call.finished) == (100.0, 104.0, 108.0)
    assert call.final_latency == 4.0 and call.rtf == 8.0 / call.audio_seconds


async def _refuse(client: ServerConnection) -> None:
    await client.recv()
    await client.send('{"error": "too loud"}')
    await client.close(1008, "too loud")


async def _hang_up(client: ServerConnection) -> None:
    await client.recv()
    await client.close(1011, "out of order")


async def _vanish(client: ServerConnection) -> None:
    await hear(client)
    client.transport.abort()


async def _forget(client: ServerConnection) -> None:
    await hear(client)
    await client.wait_closed()


async def _chatter(client: ServerConnection) -> None:
    await client.send("hello")
    await hear(client)


async def _list(client: ServerConnection) -> None:
    await client.send("[1]")
    await hear(client)


FAILURES: dict[str, tuple[Handler, str]] = {
    "refused": (_refuse, "the server refuses: too loud"),
    "hung up": (_hang_up, "hung up: .*out of order"),
    "vanished": (_vanish, "hung up"),
    "silent": (_forget, "no final transcript 0.2 s after"),
    "no JSON": (_chatter, "does not speak the protocol: 'hello'"),
    "no object": (_list, "does not speak the protocol"),
}


@pytest.mark.parametrize("name", FAILURES)
@bounded
async def test_a_call_without_a_transcript_says_why(name: str) -> None:
    handler, reason = FAILURES[name]
    async with fake_server(handler) as uri:
        with pytest.raises(CallFailed, match=reason):
            await transcribe(uri, AUDIO, "fast", timeout=0.2 if name == "silent" else 30)


@bounded
async def test_a_full_or_missing_server_is_named() -> None:
    async def never(client: ServerConnection) -> None:
        raise AssertionError

    full = {"process_request": lambda c, _: c.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full")}
    async with fake_server(never, **full) as uri:
        with pytest.raises(CallFailed, match="cannot be reached: .*503"):
            await transcribe(uri, AUDIO, "fast")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"ws://127.0.0.1:{probe.getsockname()[1]}"
    for uri in (nobody, "http://127.0.0.1"):
        with pytest.raises(CallFailed, match=f"{uri} cannot be reached"):
            await transcribe(uri, AUDIO, "fast")


@bounded
async def test_no_audio_is_a_call_too() -> None:
    async def handler(client: ServerConnection) -> None:
        await hear(client)
        await say(client, {"text": "", "is_eof": True})

    async with fake_server(handler) as uri:
        call = await transcribe(uri, AUDIO[:0], "realtime")
    assert call.text == "" and np.isnan(call.rtf)
