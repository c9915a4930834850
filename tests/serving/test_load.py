"""Load is bounded, and what a server loses under load is counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving.fake_server import ServerConnection, bounded, fake_server, hear, say
from tiny_run import tiny_run, write_cuts

from zipformer import Context
from zipformer.data.manifests import open_cuts
from zipformer.serving.load import (
    Clip,
    Outcome,
    Plan,
    lone_texts,
    read_clips,
    run_level,
    summarize,
)
from zipformer.serving.offer import Offer
from zipformer.serving.running import serving
from zipformer.streaming import Recognizer

TEXTS = ["one", "two three", "four five six"]
CLIPS = [Clip(f"clip-{i}", np.full(800 + i, 0.1, np.float32), t) for i, t in enumerate(TEXTS)]


def text_of(samples: np.ndarray) -> str:
    """The clips are told apart by their lengths."""
    return TEXTS[len(samples) - 800]


@bounded
async def test_there_are_never_more_calls_at_once_than_asked_for() -> None:
    now = most = 0
    heard: Counter[str] = Counter()

    async def handler(client: ServerConnection) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        text = text_of(await hear(client))
        heard[text] += 1
        await asyncio.sleep(0.01)
        now -= 1
        await say(client, {"text": text, "is_eof": True})

    async with fake_server(handler) as uri:
        for concurrency, calls in ((1, 3), (7, 20), (5, 5)):
            most, heard = 0, Counter()
            outcomes, seconds = await run_level(Plan((uri,), "fast"), CLIPS, concurrency, calls)
            assert len(outcomes) == calls == heard.total()
            assert max(heard.values()) - min(heard.values()) <= 1  # the clips in turn
            assert most == concurrency and seconds > 0
            assert all(o.text == o.clip.text for o in outcomes)


@pytest.mark.parametrize(("concurrency", "calls"), [(0, 3), (3, 2), (1, 0)])
@bounded
async def test_impossible_levels_are_refused(concurrency: int, calls: int) -> None:
    with pytest.raises(ValueError, match="cannot be made"):
        await run_level(Plan("ws://nowhere"), CLIPS, concurrency, calls)


@bounded
async def test_words_of_dropped_and_changed_calls_are_lost() -> None:
    number = 0

    async def handler(client: ServerConnection) -> None:
        nonlocal number
        text, number = text_of(await hear(client)), number + 1
        lone = number <= 3
        if not lone and text == "two three":
            return  # hangs up
        if not lone and text == "four five six":
            text = "four six six six"
        await say(client, {"text": text, "is_eof": True})

    async with fake_server(handler) as uri:
        plan = Plan((uri,), "fast")
        lone = await lone_texts(plan, CLIPS)
        outcomes, seconds = await run_level(plan, CLIPS, 2, 6)
    level = summarize("bad", 2, "fast", outcomes, lone, seconds)
    assert lone == {(clip.name, uri): clip.text for clip in CLIPS}
    assert (level.calls, level.failed) == (6, 2)
    assert level.words_lost == 2 * (2 + 2)  # two words dropped, one changed and one added, twice
    assert level.words == 12 and level.wer == pytest.approx(100 * 8 / 12, abs=1e-3)
    assert "hung up" in level.error


@bounded
async def test_a_server_that_hears_something_else_than_was_said_loses_nothing() -> None:
    async def handler(client: ServerConnection) -> None:
        await hear(client)
        await say(client, {"text": "nine nine", "is_eof": True})

    async with fake_server(handler) as uri:
        plan = Plan((uri,), "fast")
        outcomes, seconds = await run_level(plan, CLIPS, 3, 3)
        level = summarize("deaf", 3, "fast", outcomes, await lone_texts(plan, CLIPS), seconds)
    assert level.words_lost == 0 and level.wer is not None and level.wer >= 100


@bounded
async def test_a_clip_that_fails_even_alone_is_an_error() -> None:
    async def handler(client: ServerConnection) -> None:
        await hear(client)

    async with fake_server(handler) as uri:
        with pytest.raises(ValueError, match="clip clip-0 fails even alone: the server hung up"):
            await lone_texts(Plan((uri,)), CLIPS)


def test_figures_of_known_outcomes() -> None:
    times = np.arange(1, 102) / 1000
    outcomes = [Outcome(CLIPS[0], "one", "", t, 10 * t, 2 * t) for t in times]
    outcomes += [Outcome(CLIPS[1], None, "gone")]
    lone = {(clip.name, ""): clip.text for clip in CLIPS}
    level = summarize("x", 9, "realtime", outcomes, lone, wall_seconds=2.0)
    assert (level.latency_p50, level.latency_p90, level.latency_p99) == (51.0, 91.0, 100.0)
    assert (level.rtf_p50, level.rtf_p90) == (0.51, 0.91) and level.lateness_p99 == 200.0
    assert level.throughput == pytest.approx(101 * 800 / 16000 / 2, abs=1e-3)
    assert (level.failed, level.words_lost, level.error) == (1, 2, "gone")
    silent = summarize("x", 9, "realtime", outcomes[-1:], lone, wall_seconds=2.0)
    assert silent.latency_p50 is None and silent.throughput == 0 and silent.wer == 100


def test_a_call_without_a_reference_loses_what_was_heard_of_it_alone() -> None:
    clip = replace(CLIPS[0], text="")
    assert Outcome(clip, None).words_lost("a b c") == 3
    assert Outcome(clip, "a c").words_lost("a b c") == 1
    assert Outcome(CLIPS[0], None).words_lost("") == 1


def test_starts_are_spread_over_a_clip_and_the_same_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(delay: float) -> None:
        slept.append(delay)
        await sleep(0)

    monkeypatch.setattr("zipformer.serving.load.asyncio.sleep", note)
    clips = [Clip("a", np.zeros(16_000, np.float32)), Clip("b", np.zeros(48_000, np.float32))]
    for pace, spread in (("realtime", 2.0), ("fast", 0.0)):
        starts = []
        for _ in range(2):
            slept.clear()
            plan = Plan(("ws://127.0.0.1:9",), pace, timeout=1.0)
            asyncio.run(run_level(plan, clips, 50, 50))
            starts.append(list(slept))
        assert starts[0] == starts[1] and len(starts[0]) == 50
        assert 0 <= min(starts[0]) <= max(starts[0]) <= spread == plan.spread(clips)
        assert np.std(starts[0]) > 0.2 * spread or not spread


def test_our_server_loses_nothing_at_three_contexts_at_once(tmp_path: Path) -> None:
    clips = read_clips(open_cuts(write_cuts(tmp_path, "a", ["one", "two", "three"] * 2)), 5)
    assert len(clips) == 5 and clips[1].text == "two" and clips[0].seconds == 0.9
    model, contexts = tiny_run(tmp_path), [Context(32, 128, right) for right in (0, 64, 128)]
    offer = Offer(contexts, lambda context: Recognizer.of(model, context))
    with serving(offer) as server:
        uris = tuple(f"{server.uri}/?right={context.right}" for context in contexts)
        plan = Plan(uris, "fast")
        lone = asyncio.run(lone_texts(plan, clips))
        outcomes, seconds = asyncio.run(run_level(plan, clips, 8, 24))
    level = summarize("ours", 8, "fast", outcomes, lone, seconds)
    assert any(lone.values()) and (level.failed, level.words_lost) == (0, 0)
    assert {outcome.uri for outcome in outcomes} == set(uris)


def test_an_empty_manifest_is_refused() -> None:
    with pytest.raises(ValueError, match="no audio to send"):
        read_clips([], 3)
