"""Latency as a user feels it: when words come, measured against the end of the speech.

A stream hears each utterance in the steps that a live stream takes. Its words come in two ways:
on paper with the frame at which a token was emitted, and in fact when the step that gives this
frame can run, which is when its whole window has been heard, right context included.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from lhotse.cut import Cut

from zipformer.context import FRAME_MS, OUTPUT_FRAME_SECONDS
from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.files import write_text
from zipformer.serving.load import Plan, read_clips, run_level
from zipformer.serving.speech_end import end_of_speech, end_of_words
from zipformer.streaming.recognizer import Recognizer
from zipformer.streaming.stream import StreamResult

FEATURE_SECONDS = 0.025  # of audio that a frame is computed from
WARM_UP_SAMPLES = 48_000


@dataclass(frozen=True)
class TimedStream:
    """One utterance in a live stream; times in seconds of audio from its beginning.

    Args:
        result: The words.
        emitted: End of the frame at which the last token was emitted.
        final: What had been heard when the last token came out.
        shown: What had been heard when the last word was first shown as it stays, provisionally
            or not.
        seconds: What features, encoder and search took; provisional words not counted.
    """

    result: StreamResult
    emitted: float
    final: float
    shown: float
    seconds: float


@dataclass(frozen=True)
class Delay:
    """Delays of many utterances in milliseconds.

    Args:
        p50: The median.
        p90: The 90th percentile.
    """

    p50: float
    p90: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Delay | None:
        """Of delays in seconds; None of none."""
        if not seconds:
            return None
        p50, p90 = np.percentile(seconds, [50, 90])
        return cls(round(1000 * p50, 1), round(1000 * p90, 1))

    def __str__(self) -> str:
        return f"{self.p50:.0f} / {self.p90:.0f}"


@dataclass(frozen=True)
class Latency:
    """The figures of one test set at one context.

    Delays count from the end of the speech; they are negative where a word is known before its end.

    Args:
        set: Name of the test set.
        context: chunk/left/right in frames.
        look_ahead: Algorithmic latency in milliseconds, 10 x (chunk + right + 13).
        utterances: Heard.
        counted: Of these, those whose last word was right: only they have a delay.
        emission: To the end of the frame at which the last token was emitted.
        final: To the audio that had been heard when the last token came out.
        shown: To the audio that had been heard when the last word was shown as it stays,
            provisionally or not.
        rtf: Computing time over length of the audio, one stream at a time.
        server: From the last audio sent to a live server to the final transcript received; None if
            no server was asked.
        server_calls: How many calls that was, one at a time.
    """

    set: str
    context: str
    look_ahead: int
    utterances: int
    counted: int
    emission: Delay | None
    final: Delay | None
    shown: Delay | None
    rtf: float
    server: Delay | None = None
    server_calls: int = 0


def listen(recognizer: Recognizer, samples: np.ndarray) -> TimedStream:
    """Lets a stream hear one utterance, each step as soon as there is the audio for it.

    Args:
        recognizer: At the context to measure.
        samples: (N,) float32 at its sample rate.
    """
    stream, rate = recognizer.open(), recognizer.sample_rate
    seconds, heard = 0.0, 0
    lines: list[tuple[float, int, list[str]]] = []  # audio heard, tokens that are final, words
    for piece in _steps(recognizer, len(samples)):
        began = time.perf_counter()
        recognizer.accept(stream, samples[heard : heard + piece])
        recognizer.advance([stream])
        seconds += time.perf_counter() - began
        recognizer.look_ahead([stream])
        heard += piece
        words = (stream.text + stream.provisional).split()
        lines.append((heard / rate, len(stream.final.tokens), words))
    began = time.perf_counter()
    result = stream.close()
    seconds += time.perf_counter() - began
    lines.append((len(samples) / rate, len(result.tokens), result.text.split()))
    final = next(at for at, count, _ in lines if count == len(result.tokens))
    emitted = (result.frames[-1] + 1) * OUTPUT_FRAME_SECONDS if result.frames else 0.0
    return TimedStream(result, emitted, final, _shown(lines), seconds)


def measure(
    recognizer: Recognizer,
    name: str,
    cuts: Iterable[Cut],
    by_alignment: bool = False,
    silence_seconds: float = 0.0,
) -> Latency:
    """The delays of a test set.

    Args:
        recognizer: At the context to measure.
        name: Of the set.
        cuts: With audio and texts.
        by_alignment: Whether the end of speech comes from the words' alignment in the manifest.
        silence_seconds: Silence after each utterance: a microphone that stays open. Without any
            the end of the audio, which the stream learns of, brings out the last words early.

    Raises:
        ValueError: If a cut has no audio, or no alignment where it is asked for, naming it.
    """
    listen(recognizer, np.zeros(WARM_UP_SAMPLES, np.float32))  # the first steps are slower
    silence = np.zeros(round(silence_seconds * recognizer.sample_rate), np.float32)
    spent = audio = 0.0
    utterances = 0
    delays: list[tuple[float, float, float]] = []
    for cut in cuts:
        clip = read_clips([cut], 1)[0]
        heard = listen(recognizer, np.concatenate([clip.samples, silence]))
        utterances, spent = utterances + 1, spent + heard.seconds
        audio += clip.seconds + silence_seconds
        if _last_word(clip.text) == _last_word(heard.result.text) != "":
            end = end_of_words(cut) if by_alignment else end_of_speech(clip.samples)
            delays.append((heard.emitted - end, heard.final - end, heard.shown - end))
    assert recognizer.context.latency_ms is not None, "a stream has a finite chunk"
    return Latency(
        set=name,
        context=str(recognizer.context),
        look_ahead=recognizer.context.latency_ms,
        utterances=utterances,
        counted=len(delays),
        emission=Delay.of([emitted for emitted, _, _ in delays]),
        final=Delay.of([final for _, final, _ in delays]),
        shown=Delay.of([shown for _, _, shown in delays]),
        rtf=round(spent / max(audio, 1e-9), 5),
    )


def ask_server(
    latency: Latency, uri: str, cuts: Sequence[Cut], calls: int, tail_seconds: float = 0.0
) -> Latency:
    """Adds how long a live server takes to its last word, in calls one after another.

    Args:
        latency: Of the context that the server has.
        uri: Of the server.
        cuts: To say in turn, at real-time pace.
        calls: How many.
        tail_seconds: Silence after the audio, for servers that need it.

    Raises:
        ValueError: If a call fails.
    """
    plan = Plan((uri,), tail_seconds=tail_seconds)
    outcomes, _ = asyncio.run(run_level(plan, read_clips(cuts, calls), 1, calls))
    for outcome in outcomes:
        if outcome.text is None:
            raise ValueError(f"clip {outcome.clip.name}: {outcome.error}")
    server = Delay.of([outcome.final_latency for outcome in outcomes])
    return replace(latency, server=server, server_calls=calls)


def write_latencies(path: Path, rows: Sequence[Latency]) -> None:
    """The figures as JSON."""
    text = json.dumps([asdict(row) for row in rows], indent=2, allow_nan=False)
    write_text(path, text)


def read_latencies(path: Path) -> list[Latency]:
    """What ``write_latencies`` has written; nothing if there is no such file.

    Raises:
        ValueError: If it is damaged, naming it.
    """
    if not path.is_file():
        return []
    rows = []
    try:
        for values in json.loads(path.read_text(encoding="utf-8")):
            for name in ("emission", "final", "shown", "server"):
                values[name] = values[name] and Delay(**values[name])
            rows.append(Latency(**values))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no delays ({error}): delete it, and measure anew") from None
    return rows


def latency_table(rows: Sequence[Latency]) -> Table:
    """A row for each set and context; pairs are the median and the 90th percentile."""
    head = ["set", "chunk/left/right", "look-ahead ms", "emission ms", "final ms", "shown ms"]
    head += ["RTF", "server ms", "utterances"]
    cells = []
    for row in rows:
        delays = (row.emission, row.final, row.shown)
        cell = [row.set, row.context, str(row.look_ahead), *map(_written, delays)]
        cell += [f"{row.rtf:.4f}", _written(row.server), f"{row.counted} of {row.utterances}"]
        cells.append(cell)
    return Table(head, cells)


def _steps(recognizer: Recognizer, num_samples: int) -> Iterator[int]:
    """Samples to push so that each push but the last one is just enough for a step."""
    rate = recognizer.sample_rate
    frame = rate * FRAME_MS // 1000
    reach = (round(FEATURE_SECONDS * rate) - frame) // 2
    size = recognizer.step_frames * frame + reach
    while num_samples > 0:
        yield min(size, num_samples)
        num_samples -= size
        size = recognizer.context.chunk * frame


def _shown(lines: Sequence[tuple[float, int, list[str]]]) -> float:
    """What had been heard when the last word first stood where it stays."""
    last = lines[-1][2]
    shown = lines[-1][0]
    for heard, _, words in reversed(lines):
        if last[-1:] != words[len(last) - 1 : len(last)]:
            break
        shown = heard
    return shown


def _last_word(text: str) -> str:
    return text.split()[-1] if text.split() else ""


def _written(delay: Delay | None) -> str:
    return NO_RESULT if delay is None else str(delay)
