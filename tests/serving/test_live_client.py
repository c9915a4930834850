"""A client that sends while it listens, and what it is told when a call fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from serving.fake_server import bounded
from tiny_run import tiny_run

from zipformer import Context
from zipformer.checkpoint.loading import LoadedModel
from zipformer.serving.client import CallFailed
from zipformer.serving.connection import LARGEST_MESSAGE
from zipformer.serving.live_client import Client
from zipformer.serving.offer import Offer
from zipformer.serving.server import Server
from zipformer.streaming import Recognizer

CONTEXT = Context(32, 128, 64)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


@asynccontextmanager
async def running(loaded: LoadedModel) -> AsyncIterator[str]:
    server = await Server(Offer([CONTEXT], lambda c: Recognizer.of(loaded, c))).start(port=0)
    try:
        yield server.uri
    finally:
        await server.stop()


def sound(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


async def hear(client: Client, samples: np.ndarray) -> list[dict[str, Any]]:
    """Sends pieces, each when the one before it has been answered or has been given a moment."""

    async def speak() -> None:
        for piece in np.array_split(samples, 12):
            await client.send(piece)
            await asyncio.sleep(0.01)
        await client.finish()

    speaking = asyncio.create_task(speak())
    answers = [answer async for answer in client]
    await speaking
    return answers


@bounded
@pytest.mark.parametrize("form", ["float32", "int16"])
async def test_words_come_while_it_speaks(loaded: LoadedModel, form: str) -> None:
    samples = sound(4.0)
    if form == "int16":
        samples = (samples * 32767).astype(np.int16)
    async with running(loaded) as uri, Client(f"{uri}/?format={form}") as client:
        answers = await hear(client, samples)
    stream = Recognizer.of(loaded, CONTEXT).open()
    stream.push(samples if form == "float32" else samples.astype(np.float32) / 32768)
    assert answers[-1]["is_eof"] and answers[-1]["text"] == stream.close().text
    assert len(answers) > 2 and not answers[0]["is_eof"]


@bounded
async def test_why_it_failed_is_said(loaded: LoadedModel) -> None:
    with pytest.raises(CallFailed, match="cannot be reached"):
        async with Client("ws://127.0.0.1:1"):
            pass
    async with running(loaded) as uri:
        with pytest.raises(CallFailed, match="no context with right 7"):
            async with Client(f"{uri}/?right=7") as client:
                await hear(client, sound(1.0))


@bounded
async def test_ten_minutes_in_one_message_are_refused_in_json(loaded: LoadedModel) -> None:
    async with running(loaded) as uri:
        for seconds in (600.0, LARGEST_MESSAGE / 64000 + 0.1):
            with pytest.raises(CallFailed, match="send pieces of at most 4194304 bytes"):
                async with Client(uri) as client:
                    await client.send(sound(seconds))
                    async for _ in client:
                        pass
        async with Client(uri) as client:  # and others are served
            assert (await hear(client, sound(1.0)))[-1]["is_eof"]
