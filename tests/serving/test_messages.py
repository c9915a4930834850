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
from trained_digits import read_strings, trained
from websockets.asyncio.client import connect

from zipformer import Context
from zipformer.data.audio import cut_samples, resample
from zipformer.serving.client import transcribe
from zipformer.serving.messages import AudioFormat, Incoming, Refused, read_samples
from zipformer.serving.offer import Offer
from zipformer.serving.server import Server
from zipformer.streaming import Endpoint, Recognizer

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


@bounded
async def test_a_server_ends_segments_at_pauses(digit_strings: Path) -> None:
    sounds = [cut_samples(cut, 16000) for cut in read_strings(digit_strings)[:3]]
    pause = np.zeros(32000, np.float32)
    whole = np.concatenate([part for sound in sounds for part in (sound, pause)])
    context = Context(32, 256, 64)
    offer = Offer([context], lambda c: Recognizer.of(trained(), c))
    endpoint = Endpoint(silence=1.0, reset=True)
    server = await Server(offer, endpoint=endpoint).start(port=0)
    called = await transcribe(f"{server.uri}/?words=1", whole, "fast")
    await server.stop()
    ends = [m for m in called.messages if m["is_final"]]
    assert [m["segment"] for m in ends] == [0, 1, 2, 3] and [m["is_eof"] for m in ends][-2:] == [
        False,
        True,
    ]
    starts = [m["start_time"] for m in ends]
    assert starts == sorted(set(starts)) and starts[0] == 0.0
    pieces = np.split(whole, [round(16000 * start) for start in starts[1:]])
    for message, piece in zip(ends, pieces, strict=True):
        stream = Recognizer.of(trained(), context).open()
        stream.push(piece)
        assert message["text"] == stream.close().text
    assert called.text == " ".join(m["text"] for m in ends).strip()
    for message, sound in zip(ends[1:3], sounds, strict=False):
        said = message["start_time"] + message["words"][0]["start"]
        assert said > message["start_time"] >= len(sound) / 16000
