"""Audio of any usual form becomes what the whole recording gives, however it is cut."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving.fake_server import bounded
from tiny_run import tiny_run
from websockets.asyncio.client import connect

from zipformer import Context
from zipformer.data.audio import resample
from zipformer.serving.messages import AudioFormat, Incoming, Refused, read_samples
from zipformer.serving.offer import Offer
from zipformer.serving.server import Server
from zipformer.streaming import Recognizer

CONTEXT = Context(32, 128, 64)


def sound(seconds: float, rate: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(rate * seconds)).astype(np.float32)


@given(
    rate=st.sampled_from([8000, 11025, 16000, 44100, 48000]),
    sizes=st.lists(st.integers(0, 3000), max_size=8),
)
def test_pieces_at_another_rate_are_the_whole_resampled(rate: int, sizes: list[int]) -> None:
    samples = sound(0.5, rate)[: sum(sizes)]
    incoming = Incoming(AudioFormat(rate), 16000)
    pieces = np.split(samples, np.cumsum(sizes))
    heard = np.concatenate([*(incoming.read(p.tobytes()) for p in pieces), incoming.rest()])
    assert heard.dtype == np.float32
    np.testing.assert_array_equal(heard, resample(samples, rate, 16000))


def test_integers_are_the_floats_that_a_file_of_them_has() -> None:
    integers = np.array([-32768, -1, 0, 1, 32767], "<i2")
    floats = read_samples(integers.tobytes(), "int16")
    assert floats.tolist() == [-1.0, -1 / 32768, 0.0, 1 / 32768, 32767 / 32768]
    with pytest.raises(Refused, match="3 bytes are not int16 samples: send 2 bytes for each"):
        read_samples(b"abc", "int16")


def test_whoever_keeps_audio_is_given_what_is_heard() -> None:
    kept: list[np.ndarray] = []
    incoming = Incoming(AudioFormat(8000, "int16"), 16000, kept.append)
    heard = [incoming.read(np.ones(400, "<i2").tobytes()), incoming.rest()]
    np.testing.assert_array_equal(np.concatenate(kept), np.concatenate(heard))
    assert sum(map(len, kept)) == 800


@bounded
async def test_a_telephone_and_a_studio_are_heard_as_their_resampled_files(tmp_path: Path) -> None:
    loaded = tiny_run(tmp_path)
    server = await Server(Offer([CONTEXT], lambda c: Recognizer.of(loaded, c))).start(port=0)

    async def call(rate: int) -> Any:
        samples = (sound(3.0, rate) * 32767).astype("<i2")
        query = f"?rate={rate}&format=int16&words=1"
        async with connect(f"{server.uri}/{query}", proxy=None) as socket:
            for piece in np.array_split(samples, 7):
                await socket.send(piece.tobytes())
            await socket.send("Done")
            messages = [message async for message in socket]
        assert messages[-1] == "Done!"
        return json.loads(messages[-2])

    rates = [8000, 16000, 48000]
    answers = await asyncio.gather(*map(call, rates))
    await server.stop()
    for rate, answer in zip(rates, answers, strict=True):
        whole = (sound(3.0, rate) * 32767).astype("<i2").astype(np.float32) / 32768
        stream = Recognizer.of(loaded, CONTEXT).open()
        stream.push(resample(whole, rate, 16000))
        result = stream.close()
        assert answer["text"] == result.text
        assert len(answer["words"]) == len(result.words) > 0
        for said, word in zip(answer["words"], result.words, strict=True):
            assert said == vars(word) | {"confidence": pytest.approx(word.confidence, abs=1e-3)}
