"""Segments of endless streams: cut at pauses, with the words of the whole or of the pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trained_digits import read_strings, trained

from zipformer import Context
from zipformer.data.audio import cut_samples
from zipformer.export import OnnxSteps
from zipformer.search import Search
from zipformer.streaming import Endpoint, Recognizer, StreamResult

CONTEXT = Context(32, 256, 64)
PAUSE = np.zeros(32000, np.float32)


@pytest.fixture
def sounds(digit_strings: Path) -> list[np.ndarray]:
    return [cut_samples(cut, 16000) for cut in read_strings(digit_strings)[:8]]


def segments(
    recognizer: Recognizer, samples: np.ndarray, endpoint: Endpoint, piece_samples: int = 1600
) -> list[tuple[float, StreamResult]]:
    """Where each segment begins, and what is heard in it."""
    stream, found = recognizer.open(), []
    for piece in np.array_split(samples, len(samples) // piece_samples):
        stream.push(piece)
        if endpoint.is_due(recognizer, stream):
            start = stream.segment_start
            found.append((start, endpoint.cut(recognizer, stream)))
    return [*found, (stream.segment_start, stream.close())]


@pytest.mark.parametrize("search", [Search("greedy"), Search("modified_beam_search", 4)], ids=str)
def test_segments_that_begin_anew_have_the_words_of_their_pieces(
    sounds: list[np.ndarray], search: Search
) -> None:
    recognizer = Recognizer.of(trained(), CONTEXT, search)
    whole = np.concatenate([part for sound in sounds for part in (sound, PAUSE)])
    found = segments(recognizer, whole, Endpoint(silence=1.2, reset=True))
    assert len([1 for _, result in found if result.text]) == len(sounds)
    cuts = [round(16000 * start) for start, _ in found[1:]]
    for piece, (_, result) in zip(np.split(whole, cuts), found, strict=True):
        stream = recognizer.open()
        stream.push(piece)
        assert result.text == stream.close().text


@pytest.mark.long
def test_an_hour_with_pauses_has_the_words_of_its_pieces(sounds: list[np.ndarray]) -> None:
    recognizer = Recognizer.of(trained(), Context(128, 256, 64), prepare=OnnxSteps(1))
    whole = np.concatenate([part for sound in sounds for part in (sound, PAUSE)])
    hour = np.tile(whole, -(-3600 * 16000 // len(whole)))
    found = segments(recognizer, hour, Endpoint(silence=1.2, reset=True), 8000)
    assert len([1 for _, result in found if result.text]) == len(hour) // len(whole) * len(sounds)
    cuts = [round(16000 * start) for start, _ in found[1:]]
    streams = [recognizer.open() for _ in found]
    for stream, piece in zip(streams, np.split(hour, cuts), strict=True):
        stream.accept(piece)
    heard = recognizer.close(streams)
    assert [one.text for one in heard] == [result.text for _, result in found]
    assert found[-1][0] > 3590


@pytest.mark.parametrize("search", [Search("greedy"), Search("modified_beam_search", 4)], ids=str)
def test_segments_that_go_on_have_the_words_and_times_of_the_whole(
    sounds: list[np.ndarray], search: Search
) -> None:
    recognizer = Recognizer.of(trained(), CONTEXT, search)
    whole = np.concatenate([part for sound in sounds for part in (sound, PAUSE)])
    found = segments(recognizer, whole, Endpoint(silence=1.2))
    assert search.beam > 1 or len([1 for _, result in found if result.text]) == len(sounds)
    stream = recognizer.open()
    stream.push(whole)
    wanted = stream.close()
    times = [round(start + w.start, 2) for start, result in found for w in result.words]
    assert [w.text for _, r in found for w in r.words] == [w.text for w in wanted.words]
    assert times == [round(w.start, 2) for w in wanted.words]
    assert [token for _, result in found for token in result.tokens] == wanted.tokens


def test_a_segment_is_no_longer_than_allowed(sounds: list[np.ndarray]) -> None:
    recognizer = Recognizer.of(trained(), Context(32, 256))
    whole = np.concatenate(sounds)
    found = segments(recognizer, whole, Endpoint(longest=2.0))
    starts = [start for start, _ in found]
    assert all(np.isclose(np.diff(starts), 2.24))  # seven chunks of 0.32 s
    stream = recognizer.open()
    stream.push(whole)
    assert [t for _, result in found for t in result.tokens] == stream.close().tokens


def test_silence_alone_ends_nothing() -> None:
    recognizer = Recognizer.of(trained(), CONTEXT)
    assert len(segments(recognizer, np.tile(PAUSE, 4), Endpoint(silence=0.5))) == 1


@pytest.mark.parametrize("wrong", [{"silence": 0.0}, {"longest": -1.0}, {"silence": float("nan")}])
def test_times_are_positive(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive seconds"):
        Endpoint(**wrong)
