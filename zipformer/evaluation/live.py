"""A test set as live streams: audio in, in real chunks, many streams in one batched step."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from lhotse.cut import Cut

from zipformer.context import FRAME_MS
from zipformer.data.audio import cut_samples
from zipformer.streaming import Recognizer, Stream, StreamResult

AT_ONCE = 16  # streams


@dataclass(frozen=True)
class StreamedCut:
    """A cut that a live stream has heard.

    Args:
        cut: Its audio.
        result: The words.
        compute_seconds: Its share of the time that features, encoder and search took.
    """

    cut: Cut
    result: StreamResult
    compute_seconds: float


@dataclass
class _OpenStream:
    cut: Cut
    samples: np.ndarray
    stream: Stream
    position: int = 0
    seconds: float = 0.0


def decode_live(
    recognizer: Recognizer, cuts: Iterable[Cut], at_once: int = AT_ONCE, padded: bool = False
) -> Iterator[StreamedCut]:
    """Lets streams hear cuts, each a chunk of audio at a time; when one ends the next one joins.

    Servers of sherpa-onnx do not flush: whoever runs an export there lets silence follow, of the
    length of a step, and what does not fill a step is not heard. With right context, or a beam,
    that silence can change a word at the end. ``padded`` does the same here, so that what such a
    server says can be scored.

    Args:
        recognizer: At the context to use.
        cuts: With recordings; stored features are not used.
        at_once: Streams that are open at the same time.
        padded: See above.

    Yields:
        Results, in the order in which the streams end.

    Raises:
        ValueError: If a cut has no audio, or one as ``cut_samples`` refuses it, naming the cut.
    """
    per_frame = recognizer.sample_rate * FRAME_MS // 1000
    piece = recognizer.context.chunk * per_frame
    tail = np.zeros(recognizer.step_frames * per_frame if padded else 0, np.float32)
    waiting, live = iter(cuts), list[_OpenStream]()
    while True:
        for cut in waiting:
            samples = np.concatenate([_load(cut, recognizer.sample_rate), tail])
            live.append(_OpenStream(cut, samples, recognizer.open()))
            if len(live) >= at_once:
                break
        if not live:
            return
        began = time.perf_counter()
        for each in live:
            heard = each.samples[each.position : each.position + piece]
            recognizer.accept(each.stream, heard)
            each.position += piece
        recognizer.advance([each.stream for each in live])
        ended = [each for each in live if each.position >= len(each.samples)]
        results = recognizer.close([each.stream for each in ended], flush=not padded)
        share = (time.perf_counter() - began) / len(live)
        for each in live:
            each.seconds += share
        for each, result in zip(ended, results, strict=True):
            yield StreamedCut(each.cut, result, each.seconds)
        live = [each for each in live if not each.stream.closed]


def _load(cut: Cut, sample_rate: int) -> np.ndarray:
    if not cut.has_recording:
        raise ValueError(
            f"cut {cut.id} has features but no recording: a stream needs the audio itself; "
            "decode with --right-mode windowed, which gives the same words"
        )
    return cut_samples(cut, sample_rate)
