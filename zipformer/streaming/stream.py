"""One live stream: samples go in, text comes out.

A stream holds everything that it needs to go on and shares nothing with others, so that streams
may come and go, wait, or be dropped without a word: whoever forgets a stream frees its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zipformer.search.pieces import text_of
from zipformer.search.protocol import Hypothesis
from zipformer.search.words import Word, words_of
from zipformer.streaming.feature_stream import FeatureStream

if TYPE_CHECKING:
    from zipformer.streaming.recognizer import Recognizer

Samples = Tensor | np.ndarray | Sequence[float]


@dataclass(frozen=True)
class StreamResult:
    """What was heard.

    Args:
        tokens: Token ids.
        frames: The encoder output frame (25 Hz, from 0) at which each was emitted.
        log_probs: Natural logarithm of each token's probability.
        text: The words.
        words: The same with times and confidences.
        seconds: Length of the audio.
    """

    tokens: list[int]
    frames: list[int]
    log_probs: list[float]
    text: str
    words: list[Word]
    seconds: float


class Stream:
    """Made by ``Recognizer.open``; see there."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self.audio = FeatureStream(recognizer.sample_rate, recognizer.num_features)
        self.frames = torch.zeros(0, recognizer.num_features)  # from the next chunk on
        self.processed = 0  # frames at 50 Hz
        self.encoder_state: Tensor | None = None  # (S,), packed; None before the first step
        self.search_state: Any = None
        self.final = Hypothesis()
        self.closed = False
        self.right = torch.zeros(0, 0)  # (R / 4, D), encodings behind the last step's chunk
        self.follows: list[int] | None = []  # tokens that may follow; None if not computed yet

    @property
    def text(self) -> str:
        """The words so far that no later audio will change."""
        return text_of(self.final.tokens, self._recognizer.tokens)

    @property
    def provisional(self) -> str:
        """What follows ``text`` as it looks now; the next step replaces it.

        It comes from the right context, which the encoder has seen but will see again with its own
        right context, and from hypotheses of a beam search that may still lose. Computed when
        asked for. ``text + provisional`` is the line to show.
        """
        self._recognizer.look_ahead([self])
        line = text_of(self.final.tokens + (self.follows or []), self._recognizer.tokens)
        return line[len(self.text) :]

    @property
    def result(self) -> StreamResult:
        """Everything that is final."""
        final, pieces = self.final, self._recognizer.tokens
        return StreamResult(
            tokens=list(final.tokens),
            frames=list(final.frames),
            log_probs=list(final.log_probs),
            text=self.text,
            words=words_of(final, pieces),
            seconds=self.audio.num_samples / self.audio.sample_rate,
        )

    def push(self, samples: Samples, sample_rate: int | None = None) -> None:
        """Hears more audio and recognises what is complete.

        Args:
            samples: (N,) float32 in [-1, 1], any N.
            sample_rate: Of the samples, if it is to be checked.

        Raises:
            ValueError: On samples that cannot be right (two channels, another rate, integers, NaN),
                or after ``close``. The stream is then as it was before.
        """
        self.accept(samples, sample_rate)
        self._recognizer.advance([self])

    def accept(self, samples: Samples, sample_rate: int | None = None) -> None:
        """Takes audio in without recognising yet, for ``Recognizer.step`` over many streams.

        Arguments and errors as in ``push``.
        """
        if self.closed:
            raise ValueError("this stream is closed; open another one")
        self.audio.accept(_checked(samples, sample_rate, self.audio.sample_rate))

    def close(self) -> StreamResult:
        """Ends the input: the rest is recognised, with the right context that there is."""
        return self._recognizer.close([self])[0]

    @property
    def waiting_frames(self) -> int:
        """Feature frames (10 ms) that have been heard from the next chunk on."""
        return len(self.frames) + self.audio.ready

    def finish(self) -> None:
        """Nothing follows: the result stays, everything else is given up."""
        self.closed = True
        self.encoder_state = self.search_state = None
        self.frames, self.right = self.frames[:0], self.right[:0]
        self.follows = []

    def add(self, found: Hypothesis) -> None:
        """Puts the outcome of a step behind what was final before."""
        self.final.tokens += found.tokens
        self.final.frames += found.frames
        self.final.log_probs += found.log_probs
        self.follows = None


def _checked(samples: Samples, sample_rate: int | None, wanted: int) -> np.ndarray:
    """A copy of the samples as (N,) float32."""
    if sample_rate is not None and sample_rate != wanted:
        raise ValueError(
            f"the audio has {sample_rate} Hz, the model hears {wanted} Hz: resample it "
            "(zipformer.data.audio.resample)"
        )
    if isinstance(samples, Tensor):
        samples = samples.detach().cpu().numpy()
    array = np.asarray(samples)
    if array.ndim != 1:
        raise ValueError(
            f"a stream takes one channel, (N,) samples, got the shape {array.shape}: "
            "average the channels, or open a stream for each"
        )
    if array.dtype.kind != "f" and len(array):
        raise ValueError(
            f"samples must be floats in [-1, 1], got {array.dtype}: divide 16-bit integers by 32768"
        )
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"sample {bad} of {len(array)} is {array[bad]}: not a finite number")
    return array.astype(np.float32)
