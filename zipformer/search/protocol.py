"""What every search method promises: batches of whole utterances and streams, one result.

Letters: B batch, T encoder output frames (25 Hz), D channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor


class SearchState(Protocol):
    """What a search carries from step to step; the stream's axis comes first."""

    def to(self, device: torch.device | str) -> Self:
        """The same states on another device."""
        ...

    def select(self, streams: Sequence[int] | Tensor) -> Self:
        """The states of some streams, by index along the batch axis."""
        ...

    @staticmethod
    def cat(states: Sequence[Any]) -> Any:
        """Joins streams into one batch."""
        ...


State = TypeVar("State", bound=SearchState)


@dataclass
class Hypothesis:
    """What was heard in one utterance; the three lists have one entry per token.

    Args:
        tokens: Token ids.
        frames: The encoder output frame (25 Hz, from 0) at which each was emitted.
        log_probs: Natural logarithm of each token's probability at that frame.
    """

    tokens: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class NBestEntry:
    """A hypothesis that a search still follows.

    Args:
        score: Log-probability of everything heard so far, taken tokens included.
        hypothesis: Without what was taken.
    """

    score: float
    hypothesis: Hypothesis

    @staticmethod
    def lists(scores: Tensor, slots: Sequence[Sequence[Hypothesis]]) -> list[list[NBestEntry]]:
        """(B, K) scores and K times B hypotheses -> those of each stream whose score is finite."""
        return [
            [NBestEntry(score, slots[k][i]) for k, score in enumerate(row) if score > -math.inf]
            for i, row in enumerate(scores.tolist())
        ]


class Searcher(Protocol[State]):
    """A search over encoder outputs.

    However the frames of an utterance are cut into steps, and whatever else is in the batch, the
    hypothesis is the same.
    """

    def initial_state(self, batch_size: int) -> State:
        """The state of ``batch_size`` utterances of which nothing has been heard."""
        ...

    def step(self, encoder_out: Tensor, lengths: Tensor, state: State) -> State:
        """Goes on with the next frames of each utterance.

        Args:
            encoder_out: (B, T, D).
            lengths: (B,) valid frames of these; what lies after them changes nothing.
            state: What the previous step returned; it is not changed.

        Returns:
            The new state.
        """
        ...

    def hypotheses(self, state: State) -> list[Hypothesis]:
        """The best hypothesis of each utterance so far."""
        ...

    def take(self, state: State) -> tuple[list[Hypothesis], State]:
        """Takes what no later frame can change out of a state, so that streams do not grow.

        Returns:
            What has become final in each utterance since the last time, and the state that goes
            on. Everything taken, and then ``hypotheses`` of the last state, is the whole.
        """
        ...

    def decode(self, encoder_out: Tensor, lengths: Tensor) -> list[Hypothesis]:
        """Whole utterances at once: (B, T, D) frames, (B,) of them valid."""
        return self.hypotheses(self.step(encoder_out, lengths, self.initial_state(len(lengths))))


class BeamSearcher(Searcher[State], Protocol[State]):
    """A search that follows several hypotheses."""

    def n_best(self, state: State) -> list[list[NBestEntry]]:
        """What is followed in each utterance; never nothing."""
        ...
