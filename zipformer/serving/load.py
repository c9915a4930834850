"""Many calls to a server at once, in a bounded way, and what they say about it.

A level makes a fixed number of calls, never more than ``concurrency`` at a time; whoever has
finished a call begins the next one. As people do not all begin to speak at once, the first calls
begin at random moments (seeded) within the length of an average clip; with the pace ``fast`` they
begin together.

Words are lost when a server under load hears less or other words than it hears of the same audio
when it has nothing else to do: a call without a final transcript has lost all words that were said
in it, another one those in which its transcript differs from the one of a lone call. None may be.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product

import numpy as np
from lhotse.cut import Cut

from zipformer.data.audio import cut_samples
from zipformer.data.manifests import text_of
from zipformer.evaluation.scoring import WordErrors, word_errors
from zipformer.serving.client import CallFailed, Pace, transcribe
from zipformer.tokens.scripts import words_and_characters

SAMPLE_RATE = 16000  # of the protocol
ATTEMPTS = 3  # of a lone call


@dataclass(frozen=True)
class Clip:
    """Something to say.

    Args:
        name: Id of the cut.
        samples: (N,) float32 at 16 kHz.
        text: What is said, if known.
    """

    name: str
    samples: np.ndarray
    text: str = ""

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Plan:
    """How calls are made.

    Args:
        uris: Of the server, as in ``ws://localhost:6006/?right=64``; calls go to each in turn.
        pace: ``realtime`` or ``fast``.
        tail_seconds: Silence after the audio, for servers that need it.
        timeout: Seconds that a call may last beyond the length of its audio.
        seed: Of the moments at which the first calls begin.
    """

    uris: tuple[str, ...]
    pace: Pace = "realtime"
    tail_seconds: float = 0.0
    timeout: float = 30.0
    seed: int = 0

    def spread(self, clips: Sequence[Clip]) -> float:
        """Seconds within which the first calls begin."""
        if self.pace == "fast":
            return 0.0
        return sum(clip.seconds for clip in clips) / len(clips)


@dataclass(frozen=True)
class Outcome:
    """One call.

    Args:
        clip: What was said.
        text: The final transcript; None if there was none.
        error: Why there was none.
        final_latency: Seconds from the last audio sent to the final transcript.
        rtf: Wall time of the call over the length of its audio.
        lateness: Seconds by which the last audio was sent too late.
        uri: Where it went.
    """

    clip: Clip
    text: str | None
    error: str = ""
    final_latency: float = math.nan
    rtf: float = math.nan
    lateness: float = math.nan
    uri: str = ""

    def words_lost(self, lone_text: str) -> int:
        """Words lost against the transcript of a lone call."""
        if self.text is None:
            return len(words_and_characters(self.clip.text or lone_text))
        alone, heard = words_and_characters(lone_text), words_and_characters(self.text)
        return word_errors(alone, heard).errors


@dataclass(frozen=True)
class Level:
    """The figures of one concurrency; failed calls have no times, and without any they are None.

    Args:
        label: What was served, as in ``right 64``.
        concurrency: Calls at a time.
        pace: How they were made.
        calls: All of them.
        failed: Those without a final transcript.
        words: Words said.
        words_lost: See the head of this file.
        wer: Word error rate in percent, a failed call counting as silence; None without texts.
        latency_p50: Milliseconds from the last audio sent to the final transcript, the median.
        latency_p90: The 90th percentile.
        latency_p99: The 99th percentile.
        rtf_p50: Real-time factor of a call, the median.
        rtf_p90: The 90th percentile.
        throughput: Seconds of audio heard in a second.
        lateness_p99: Milliseconds by which calls sent their last audio too late; if this is not
            small, the machine that makes the calls is too slow.
        error: Of the first call that failed.
    """

    label: str
    concurrency: int
    pace: Pace
    calls: int
    failed: int
    words: int
    words_lost: int
    wer: float | None
    latency_p50: float | None
    latency_p90: float | None
    latency_p99: float | None
    rtf_p50: float | None
    rtf_p90: float | None
    throughput: float
    lateness_p99: float | None
    error: str = ""


def read_clips(cuts: Iterable[Cut], count: int) -> list[Clip]:
    """The first ``count`` cuts with some audio.

    Raises:
        ValueError: If there is none, or one as ``cut_samples`` refuses it.
    """
    clips = [
        Clip(cut.id, cut_samples(cut, SAMPLE_RATE), text_of(cut)) for cut in islice(cuts, count)
    ]
    if not clips:
        raise ValueError("no audio to send: the manifest is empty")
    return clips


async def lone_texts(plan: Plan, clips: Sequence[Clip]) -> dict[tuple[str, str], str]:
    """What the server hears when it has nothing else to do, by name of the clip and address.

    Raises:
        ValueError: If a clip fails several times even then.
    """
    texts = {}
    for clip, uri in product(clips, plan.uris):
        for _ in range(ATTEMPTS):
            outcome = await _make_call(plan, clip, uri, "fast")
            if outcome.text is not None:
                break
        else:
            raise ValueError(f"clip {clip.name} fails even alone: {outcome.error}")
        texts[clip.name, uri] = outcome.text
    return texts


async def run_level(
    plan: Plan, clips: Sequence[Clip], concurrency: int, calls: int
) -> tuple[list[Outcome], float]:
    """Makes the calls of one level, taking the clips in turn, each at every address.

    Returns:
        The outcomes in the order in which they came, and how many seconds all took.

    Raises:
        ValueError: If there are too few calls.
    """
    if not 1 <= concurrency <= calls:
        raise ValueError(f"{calls} calls cannot be made {concurrency} at a time")
    waiting = islice(cycle(product(clips, plan.uris)), calls)
    outcomes: list[Outcome] = []

    async def line(delay: float) -> None:
        await asyncio.sleep(delay)
        for clip, uri in waiting:
            outcomes.append(await _make_call(plan, clip, uri, plan.pace))

    began = time.perf_counter()
    delays = islice(_delays(plan, clips), concurrency)
    await asyncio.gather(*(line(delay) for delay in delays))
    return outcomes, time.perf_counter() - began


def summarize(
    label: str,
    concurrency: int,
    pace: Pace,
    outcomes: Sequence[Outcome],
    lone: Mapping[tuple[str, str], str],
    wall_seconds: float,
) -> Level:
    """The figures of a level.

    Args:
        label: What was served.
        concurrency: Calls at a time.
        pace: How they were made.
        outcomes: At least one.
        lone: Transcripts of lone calls, by name of the clip and address.
        wall_seconds: How long all took.
    """
    heard = [o for o in outcomes if o.text is not None]
    errors = WordErrors()
    for outcome in outcomes:
        said, found = words_and_characters(outcome.clip.text), outcome.text or ""
        errors += word_errors(said, words_and_characters(found))
    latencies = [1000 * o.final_latency for o in heard]
    return Level(
        label=label,
        concurrency=concurrency,
        pace=pace,
        calls=len(outcomes),
        failed=len(outcomes) - len(heard),
        words=errors.words,
        words_lost=sum(o.words_lost(lone[o.clip.name, o.uri]) for o in outcomes),
        wer=round(errors.wer, 3) if errors.words else None,
        latency_p50=percentile(latencies, 50),
        latency_p90=percentile(latencies, 90),
        latency_p99=percentile(latencies, 99),
        rtf_p50=percentile([o.rtf for o in heard], 50),
        rtf_p90=percentile([o.rtf for o in heard], 90),
        throughput=round(sum(o.clip.seconds for o in heard) / wall_seconds, 3),
        lateness_p99=percentile([1000 * o.lateness for o in heard], 99),
        error=next((o.error for o in outcomes if o.text is None), ""),
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that ``share`` percent lie below, between neighbours if need be; None of none."""
    return round(float(np.percentile(values, share)), 4) if len(values) else None


async def _make_call(plan: Plan, clip: Clip, uri: str, pace: Pace) -> Outcome:
    try:
        call = await transcribe(uri, clip.samples, pace, plan.tail_seconds, plan.timeout)
    except CallFailed as failure:
        return Outcome(clip, None, str(failure), uri=uri)
    return Outcome(clip, call.text, "", call.final_latency, call.rtf, call.lateness, uri)


def _delays(plan: Plan, clips: Sequence[Clip]) -> Iterator[float]:
    """When the lines make their first calls, in seconds."""
    generator = np.random.default_rng(plan.seed)
    while True:
        yield float(generator.uniform(0.0, plan.spread(clips)))
