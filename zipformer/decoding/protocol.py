"""What every search method promises: batches of whole utterances and streams, one result.

Letters: B batch, T encoder output frames (25 Hz), D channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from torch import Tensor

SECONDS_PER_FRAME = 0.04  # of an encoder output frame

State = TypeVar("State")


@dataclass
class Hypothesis:
    """What was heard in one utterance; the three lists have one entry per token.

    Args:
        tokens: Token ids.
        timestamps: The encoder output frame (25 Hz, from 0) at which each was emitted.
        log_probs: Natural logarithm of each token's probability at that frame.
    """

    tokens: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)


class Decoder(Protocol[State]):
    """A search over encoder outputs.

    However the frames of an utterance are cut into steps, and whatever else is in the batch, the
    hypothesis is the same.
    """

    def initial_state(self, batch_size: int) -> State:
        """The state of ``batch_size`` utterances of which nothing has been heard."""
        ...

    def step(self, encoder_out: Tensor, lengths: Tensor, state: State) -> State:
        """Goes on with the next (B, T, D) frames, of which (B,) are valid."""
        ...

    def hypotheses(self, state: State) -> list[Hypothesis]:
        """The best hypothesis of each utterance so far."""
        ...

    def decode(self, encoder_out: Tensor, lengths: Tensor) -> list[Hypothesis]:
        """Whole utterances at once: (B, T, D) frames, (B,) of them valid."""
        ...
