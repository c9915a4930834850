"""One thread serves all sessions in turn, and tells each only what is new."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from serving.fake_server import bounded
from tiny_run import tiny_run

from zipformer import Context
from zipformer.serving.messages import Refused, result_message
from zipformer.serving.worker import Session, Worker
from zipformer.streaming import Recognizer, WholeRecognizer


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.of(tiny_run(tmp_path_factory.mktemp("run")), Context(32, 128, 64))


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


@asynccontextmanager
async def working(max_batch: int) -> AsyncIterator[Worker]:
    worker = Worker(max_batch, max_waiting_seconds=100.0)
    task = asyncio.create_task(worker.run())
    yield worker
    task.cancel()
    await asyncio.wait([task])


@bounded
async def test_a_short_stream_does_not_wait_for_the_end_of_a_long_one(
    recognizer: Recognizer,
) -> None:
    async with working(max_batch=1) as worker:
        long, short = worker.open(recognizer), worker.open(recognizer)
        worker.accept(long, sound(60.0))
        worker.accept(short, sound(2.0))
        worker.end(short)
        last = False
        while not last:
            _, last = await short.news()
        assert long.stream.processed < 16 * 20 and not long.stream.closed


@bounded
async def test_a_stream_takes_in_no_more_than_it_needs_for_a_step(recognizer: Recognizer) -> None:
    async with working(max_batch=1) as worker:
        session = worker.open(recognizer)
        worker.accept(session, sound(20.0))
        while True:
            await session.news()
            assert session.stream.audio.num_samples <= 16_000 * 20 - session.waiting
            assert session.stream.waiting_frames <= recognizer.step_frames + 100
            if not session.waiting:
                break


@bounded
async def test_contexts_share_the_thread_fairly(recognizer: Recognizer) -> None:
    """Neither a crowd at one context nor long audio at it keeps the others waiting."""
    other = Recognizer(recognizer.model, recognizer.tokens, Context(64, 128))
    async with working(max_batch=4) as worker:
        crowd = [worker.open(recognizer) for _ in range(8)]
        for session in crowd:
            worker.accept(session, sound(30.0))
        late = worker.open(other)
        worker.accept(late, sound(2.0))
        worker.end(late)
        last = False
        while not last:
            _, last = await late.news()
        assert all(session.stream.processed < 16 * 20 for session in crowd)
        assert worker.lag > 10.0
        assert worker.steps >= 2


@bounded
async def test_what_is_dropped_in_the_middle_of_a_step_is_forgotten(
    recognizer: Recognizer,
) -> None:
    async with working(max_batch=8) as worker:
        dropped, kept = worker.open(recognizer), worker.open(recognizer)
        for session in (dropped, kept):
            worker.accept(session, sound(3.0))
            worker.end(session)
        await asyncio.sleep(0)  # the worker takes them on
        worker.drop(dropped)
        worker.accept(dropped, sound(1.0))
        last = False
        while not last:
            _, last = await kept.news()
        assert worker.open_streams == 1


@bounded
async def test_only_the_newest_news_is_told_and_only_if_it_is_new(recognizer: Recognizer) -> None:
    session = Session(recognizer, 100)
    for message in (result_message(session.stream), "b", "c"):
        session.tell(message)
    assert await session.news() == ("c", False)
    session.tell("c")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(session.news(), 0.05)
    session.tell("c", last=True)
    assert await session.news() == ("c", True)
    session.fail(Refused(1011, "broken"))
    with pytest.raises(Refused, match="broken"):
        await session.news()


@bounded
async def test_there_is_room_until_too_much_waits(recognizer: Recognizer) -> None:
    session = Session(recognizer, 100)
    session.accept(sound(1.0)[:100])
    assert session.room.is_set()
    session.accept(sound(1.0)[:1])
    assert not session.room.is_set() and not session.exhausted
    assert session.waiting_seconds == 101 / 16_000
    session.fill()
    session.ended = True
    assert session.room.is_set() and session.exhausted


@bounded
async def test_a_probability_that_is_no_number_fails_only_that_stream(
    recognizer: Recognizer,
) -> None:
    async with working(max_batch=8) as worker:
        broken, sound_one = worker.open(recognizer), worker.open(recognizer)
        broken.stream.final.tokens += [5]
        broken.stream.final.frames += [0]
        broken.stream.final.log_probs += [float("nan")]
        for session in (broken, sound_one):
            worker.accept(session, sound(2.0))
            worker.end(session)
        with pytest.raises(Refused, match="the recognizer failed"):
            while True:
                await broken.news()
        last = False
        while not last:
            _, last = await sound_one.news()


@pytest.mark.parametrize("module", ["server", "client"])
def test_without_websockets_the_message_names_the_extra(module: str) -> None:
    code = "import sys; sys.modules['websockets.asyncio.client'] = None; import zipformer.serving"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('fine'); import zipformer.serving.{module}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "fine\n" and done.returncode == 1
    assert "pip install -e '.[serve]'" in done.stderr


@bounded
async def test_whole_utterances_are_bounded_and_taken_one_by_one(tmp_path: Path) -> None:
    whole = WholeRecognizer.of(tiny_run(tmp_path), Context.full())
    async with working(max_batch=8) as worker:
        sessions = [worker.open(whole) for _ in range(3)]
        for session in sessions:
            worker.accept(session, sound(59.0))
            worker.end(session)
        with pytest.raises(Refused, match="more than 60 s: at full context"):
            worker.accept(worker.open(whole), sound(61.0))
        message, last = await sessions[0].news()
        assert last and "text" in message
        assert not sessions[2].stream.closed
