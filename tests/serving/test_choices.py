"""Several contexts behind one port: everybody gets the words of his own, and health is told."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from serving.fake_server import bounded
from tiny_run import CTC_ATTENTION, tiny_run
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from zipformer import Context
from zipformer.checkpoint.loading import LoadedModel
from zipformer.search import Search
from zipformer.serving.client import CallFailed, transcribe
from zipformer.serving.limits import Limits
from zipformer.serving.offer import Offer
from zipformer.serving.server import Server
from zipformer.streaming import Recognizer

CONTEXTS = [Context(32, 128), Context(32, 128, 64), Context(64, 128, 64)]
CHOICES = {
    "": (CONTEXTS[0], Search("greedy")),
    "?right=64": (CONTEXTS[1], Search("greedy")),
    "?chunk=64&provisional=0": (CONTEXTS[2], Search("greedy")),
    "?right=64&beam=4": (CONTEXTS[1], Search("modified_beam_search", 4)),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


def sound(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


@asynccontextmanager
async def running(loaded: LoadedModel, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    offer = Offer(CONTEXTS, lambda context: Recognizer.of(loaded, context))
    server = await Server(offer, Limits(), tls).start(port=0)
    try:
        yield server
    finally:
        await server.stop()


@bounded
async def test_who_waits_for_a_context_counts_and_is_told_when_the_server_stops(
    loaded: LoadedModel,
) -> None:
    ready = threading.Event()

    def make(context: Context) -> Recognizer:
        if context != CONTEXTS[0]:
            ready.wait()
        return Recognizer.of(loaded, context)

    server = await Server(Offer(CONTEXTS, make), Limits(max_connections=2)).start(port=0)
    try:
        async with (
            connect(f"{server.uri}/?right=64", proxy=None, close_timeout=5) as waiting,
            connect(server.uri, proxy=None) as other,
        ):
            await other.send(sound(2.0, 0).tobytes())
            assert json.loads(await other.recv())["tokens"]  # steps go on
            with pytest.raises(InvalidStatus, match="503"):
                async with connect(server.uri, proxy=None):
                    pass
            stopping = asyncio.create_task(server.stop())
            assert json.loads(await waiting.recv()) == {"error": "the server is stopping"}
            with pytest.raises(ConnectionClosed) as closed:
                await waiting.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
    finally:
        ready.set()
    await stopping


async def fetch(uri: str) -> tuple[int, str]:
    """Status and body of a page."""

    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(uri.replace("ws://", "http://")) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(get)


@bounded
async def test_each_client_gets_the_words_of_its_own_context(loaded: LoadedModel) -> None:
    audio = {(query, seed): sound(3.0, seed) for query in CHOICES for seed in range(3)}
    async with running(loaded) as server:
        calls = await asyncio.gather(
            *(transcribe(f"{server.uri}/{q}", s, "fast") for (q, _), s in audio.items())
        )
    heard = dict(zip(audio, (call.text for call in calls), strict=True))
    for (query, seed), samples in audio.items():
        context, search = CHOICES[query]
        stream = Recognizer.of(loaded, context, search).open()
        stream.push(samples)
        assert heard[query, seed] == stream.close().text
    assert len({heard[query, 0] for query in CHOICES}) > 1, "all contexts hear the same"
    silent = calls[list(audio).index(("?chunk=64&provisional=0", 0))]
    assert not any(message["provisional"] for message in silent.messages)


@bounded
async def test_what_is_not_offered_is_refused_in_json(loaded: LoadedModel) -> None:
    async with running(loaded) as server:
        with pytest.raises(CallFailed, match="no context with right 32: .* may be 32/128/0, 32/1"):
            await transcribe(f"{server.uri}/?right=32", sound(1.0, 0), "fast")
        with pytest.raises(CallFailed, match="unknown key 'hotwords'"):
            await transcribe(f"{server.uri}/?hotwords=7", sound(1.0, 0), "fast")
        assert server.worker.open_streams == 0


@bounded
async def test_a_head_that_is_not_there_is_said(tmp_path: Path) -> None:
    model = tiny_run(tmp_path, CTC_ATTENTION)
    rescoring = Search("attention_rescoring")
    offer = Offer(CONTEXTS, lambda context: Recognizer.of(model, context, rescoring))
    server = await Server(offer).start(port=0)
    with pytest.raises(CallFailed, match="needs the heads transducer"):
        await transcribe(f"{server.uri}/?right=64&beam=1", sound(1.0, 0), "fast")
    await server.stop()


@bounded
async def test_health_is_told_on_the_same_port(loaded: LoadedModel) -> None:
    async with running(loaded) as server:
        async with connect(f"{server.uri}/?right=64", proxy=None) as client:
            await client.send(sound(3.0, 0).tobytes())
            await client.recv()
            status, body = await fetch(f"{server.uri}/health")
        health = json.loads(body)
        assert status == 200 and health["streams"] == 1 and health["steps"] >= 1
        assert health["contexts"] == ["32/128/0", "32/128/64", "64/128/64"]
        assert health["latency_ms"] == [450, 1090, 1410]
        assert health["lag"] >= 0.0 and health["sample_rate"] == 16000
        status, body = await fetch(f"{server.uri}/nothing?right=64")
        assert status == 404 and "/health" in body


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@bounded
async def test_browsers_may_speak_to_it_through_tls(loaded: LoadedModel, tmp_path: Path) -> None:
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    async with running(loaded, own) as server:
        assert server.uri.startswith("wss://")
        async with connect(server.uri, proxy=None, ssl=trusting) as client:
            await client.send("Done")
            assert json.loads(await client.recv())["is_eof"]
