"""Words come when the step that gives them has been heard, not before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lhotse.supervision import AlignmentItem
from tiny_run import tiny_run, write_cuts
from trained_digits import read_strings, trained

from zipformer import Context
from zipformer.evaluation.table import to_markdown
from zipformer.serving import latency
from zipformer.serving.latency import (
    Delay,
    TimedStream,
    ask_server,
    latency_table,
    listen,
    measure,
    write_latencies,
)
from zipformer.serving.running import serving
from zipformer.streaming import Recognizer, StreamResult, trace

CONTEXTS = [Context(32, 128, 0), Context(32, 128, 64), Context(64, 128, 128)]
REACH = 0.0075  # of the last feature frame beyond its 10 ms


@pytest.fixture(scope="module", params=CONTEXTS, ids=str)
def recognizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Recognizer:
    return Recognizer.of(tiny_run(tmp_path_factory.mktemp("run")), request.param)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)


def heard_when_final(context: Context, frame: int, seconds: float) -> float:
    """The audio that a frame's tokens need: the window of their step, or all that there is."""
    step = 4 * frame // context.chunk
    frames = step * context.chunk + context.chunk + context.right + 13
    return min(frames / 100 + REACH, seconds)


def test_tokens_come_with_the_step_of_their_frame(recognizer: Recognizer) -> None:
    samples, piece = sound(3.1), 80  # 5 ms
    stream, seen = recognizer.open(), list[float]()
    for end in range(piece, len(samples) + piece, piece):
        stream.push(samples[end - piece : end])
        seen += [end / 16000] * (len(stream.final.tokens) - len(seen))
    result = stream.close()
    seen += [len(samples) / 16000] * (len(result.tokens) - len(seen))
    wanted = [heard_when_final(recognizer.context, f, 3.1) for f in result.frames]
    assert len(wanted) > 10
    assert seen == pytest.approx(wanted, abs=piece / 16000)


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0, 2.43, 4.0])
def test_an_utterance_is_heard_in_the_steps_of_a_live_stream(
    recognizer: Recognizer, seconds: float
) -> None:
    samples = sound(seconds)
    heard = listen(recognizer, samples)
    stream = recognizer.open()
    stream.push(samples)
    result = stream.close()
    assert (heard.result.tokens, heard.result.frames) == (result.tokens, result.frames)
    if heard.result.frames:
        last = heard.result.frames[-1]
        assert heard.emitted == pytest.approx(0.04 * (last + 1))
        assert heard.final == pytest.approx(heard_when_final(recognizer.context, last, seconds))
    assert 0 <= heard.shown <= seconds and heard.seconds > 0


def test_with_right_context_words_are_shown_before_they_are_final(digit_strings: Path) -> None:
    contexts = Context(32, 256), Context(32, 256, 128)
    without, far = (Recognizer.of(trained(), context, prepare=trace) for context in contexts)
    earlier = []
    for cut in read_strings(digit_strings)[:6]:
        samples = np.concatenate([cut.load_audio()[0], np.zeros(32_000, np.float32)])
        heard = listen(without, samples)
        assert heard.shown == heard.final
        heard = listen(far, samples)
        last = heard.result.frames[-1]
        assert heard.final == pytest.approx(heard_when_final(far.context, last, 99.0))
        earlier.append(heard.final - heard.shown)
    assert min(earlier) >= 0 and max(earlier) > 0.3


def test_delays_are_counted_from_the_end_of_speech_where_the_last_word_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digit_strings: Path
) -> None:
    cuts = read_strings(digit_strings)[:5]
    ends = [1.0, 2.0, 1.5, 1.2, 1.1]
    for cut, end in zip(cuts, ends, strict=True):
        cut.supervisions[0].text = "eight nine"
        cut.supervisions[0].alignment = {"word": [AlignmentItem("nine", 0.5, end - 0.5)]}
    texts = iter(
        ["", "eight nine", "five nine", "nine", "eight", "eight nine"]
    )  # first: warming up
    emitted, final = iter([9, 0.9, 2.1, 1.8, 9, 1.1]), iter([9, 1.3, 2.5, 2.5, 9, 1.2])

    lengths = []

    def hear(_: object, samples: np.ndarray) -> TimedStream:
        at = next(final)
        lengths.append(len(samples))
        result = StreamResult([], [], [], next(texts), [], 1.0)
        return TimedStream(result, next(emitted), at, at - 0.1, 0.0)

    monkeypatch.setattr(latency, "listen", hear)
    recognizer = Recognizer.of(tiny_run(tmp_path), Context(32, 128, 64))
    row = measure(recognizer, "test", cuts, by_alignment=True, silence_seconds=0.5)
    assert lengths[1:] == [cut.num_samples + 8000 for cut in cuts]
    assert (row.look_ahead, row.utterances, row.counted) == (1090, 5, 4)
    # emitted -0.1, 0.1, 0.3, 0.0; final 0.3, 0.5, 1.0, 0.1; shown 0.1 before
    assert row.emission == Delay(50.0, 240.0)
    assert row.final == Delay(400.0, 850.0)
    assert row.shown == Delay(300.0, 750.0)
    early = replace(row, emission=Delay.of([-0.3, -0.2, -0.1]))
    assert "-200 / -120" in to_markdown(latency_table([early]))


def test_a_set_without_right_words_has_no_delays(tmp_path: Path) -> None:
    recognizer = Recognizer.of(tiny_run(tmp_path), Context(32, 128, 0))
    manifest = write_cuts(tmp_path, "a", ["nothing", "of", "this"])
    row = measure(recognizer, "a", read_strings(manifest))
    assert (row.utterances, row.counted, row.emission) == (3, 0, None) and row.rtf > 0
    assert "| -" in to_markdown(latency_table([row]))
    write_latencies(tmp_path / "latency.json", [row])
    assert json.loads((tmp_path / "latency.json").read_text())[0]["final"] is None


def test_a_live_server_is_asked_in_calls(tmp_path: Path) -> None:
    recognizer = Recognizer.of(tiny_run(tmp_path), Context(32, 128, 64))
    cuts = read_strings(write_cuts(tmp_path, "a", ["one", "two"], seconds=0.4))
    row = measure(recognizer, "a", cuts)
    with serving(recognizer) as server:
        row = ask_server(row, server.uri, cuts, calls=3)
    assert row.server is not None and 0 < row.server.p50 <= row.server.p90
    assert row.server_calls == 3
    with pytest.raises(ValueError, match="clip a-0: .* cannot be reached"):
        ask_server(row, server.uri, cuts, calls=1)
