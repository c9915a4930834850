"""One live stream: what it has heard so far, and what it needs to go on.

A stream is state; ``Recognizer`` acts on it. It shares nothing with others, so that streams may
come and go, wait, or be dropped without a word: whoever forgets a stream frees its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zipformer.context import OUTPUT_FRAME_SECONDS
from zipformer.search.protocol import Hypothesis, SearchState
from zipformer.search.words import Word, words_of
from zipformer.streaming.feature_stream import FeatureStream
from zipformer.tokens.pieces import text_of_tokens


@dataclass(frozen=True)
class StreamResult:
    """What was heard.

    Args:
        tokens: Token ids.
        frames: The encoder output frame (25 Hz, from 0) at which each was emitted.
        log_probs: Natural logarithm of each token's probability.
        text: The words.
        words: The same with times and confidences.
        seconds: Length of the audio, all segments together.
    """

    tokens: list[int]
    frames: list[int]
    log_probs: list[float]
    text: str
    words: list[Word]
    seconds: float


class Stream:
    """Made by ``Recognizer.open``; see there.

    Args:
        pieces: The piece of every token id.
        sample_rate: Of the audio in Hz.
        num_features: Of the model's features.

    Attributes:
        text: The words so far that no later audio will change.
        provisional: What follows ``text`` as it looked after the last step, if
            ``Recognizer.look_ahead`` was asked for it; ``text + provisional`` is the line to show.
        final: Tokens, frames (from the segment's beginning) and probabilities of ``text``.
        segment: How many segments ended before; all of the above is of the running one.
        closed: Whether the input has ended; nothing changes any more.
    """

    def __init__(self, pieces: Sequence[str], sample_rate: int, num_features: int) -> None:
        self.pieces = pieces
        self.audio = FeatureStream(sample_rate, num_features)
        self.frames = torch.zeros(0, num_features)  # from the next chunk on
        self.processed = 0  # frames at 50 Hz
        self.encoder_state: Tensor | None = None  # (S,), packed; None before the first step
        self.search_state: SearchState | None = None
        self.first_state: SearchState | None = None  # of a segment, if not the search's own
        self.right = torch.zeros(0, 0)  # (R / 4, D), encodings after the last step's chunk
        self.final = Hypothesis()
        self.text = self.provisional = ""
        self.segment = 0
        self.closed = False
        self._fresh_at = 0  # the output frame of the whole stream where the encoder began anew
        self._segment_at = 0  # and where the segment began

    @property
    def segment_start(self) -> float:
        """Seconds from the beginning of the audio to that of the running segment."""
        return self._segment_at * OUTPUT_FRAME_SECONDS

    @property
    def segment_frames(self) -> int:
        """Output frames of the running segment so far."""
        return self._fresh_at + self.processed // 2 - self._segment_at

    def in_segment(self, frames: Sequence[int]) -> list[int]:
        """Output frames as the search counts them, from the segment's beginning."""
        return [frame + self._fresh_at - self._segment_at for frame in frames]

    def accept(self, samples: np.ndarray) -> None:
        """Takes in (N,) float32 samples that have been checked; see ``Recognizer.accept``."""
        assert not self.closed, "a closed stream hears nothing"
        self.audio.accept(samples)

    @property
    def waiting_frames(self) -> int:
        """Feature frames (10 ms) that have been heard from the next chunk on."""
        return len(self.frames) + self.audio.ready

    @property
    def result(self) -> StreamResult:
        """Everything that is final."""
        return StreamResult(
            tokens=list(self.final.tokens),
            frames=list(self.final.frames),
            log_probs=list(self.final.log_probs),
            text=self.text,
            words=words_of(self.final, self.pieces),
            seconds=self.audio.num_samples / self.audio.sample_rate,
        )

    def add(self, found: Hypothesis) -> None:
        """Puts the outcome of a step after what was final before; what was provisional is over."""
        self.final.tokens += found.tokens
        self.final.frames += self.in_segment(found.frames)
        self.final.log_probs += found.log_probs
        self.provisional = ""
        if found.tokens:
            self.text = text_of_tokens(self.final.tokens, self.pieces)

    def show(self, follows: Sequence[int]) -> None:
        """Says which tokens may follow, for ``provisional``."""
        line = text_of_tokens([*self.final.tokens, *follows], self.pieces)
        self.provisional = line[len(self.text) :]

    def begin_segment(self, reset: bool) -> None:
        """What follows is a new segment; ``Endpoint`` says what ``reset`` does."""
        self._segment_at += self.segment_frames
        if reset:
            self._fresh_at, self.processed = self._segment_at, 0
            self.encoder_state = self.search_state = None
        self.segment += 1
        self.final, self.text, self.provisional = Hypothesis(), "", ""

    def finish(self) -> None:
        """Nothing follows: the result stays, everything else is given up."""
        self.closed = True
        self.encoder_state = self.search_state = self.first_state = None
        self.frames, self.right = self.frames[:0], self.right[:0]
        self.provisional = ""
