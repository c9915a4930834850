"""What searches remember of the tokens that they have emitted, and how it becomes lists.

Letters: B batch, N columns of history; "..." is the axis of the beam in searches that follow
several hypotheses, and nothing in others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import compress
from typing import Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.search.protocol import Hypothesis

NOTHING = -1  # in History.emitted: no token in this column


@dataclass
class History:
    """What every search carries from one step to the next; the stream's axis comes first.

    Args:
        processed: (B,) int64, valid output frames so far.
        emitted: (B, ..., N) int64, tokens, -1 where there is none.
        frames: (B, ..., N) int64, the output frame that each column of ``emitted`` belongs to.
        log_probs: (B, ..., N) float32, log-probabilities of the emitted tokens.
    """

    processed: Tensor
    emitted: Tensor
    frames: Tensor
    log_probs: Tensor

    def to(self, device: torch.device | str) -> Self:
        """The same states on another device."""
        return type(self)(*(getattr(self, f.name).to(device) for f in fields(self)))

    def select(self, streams: Sequence[int] | Tensor) -> Self:
        """The states of some streams, by index along the batch axis."""
        index = torch.as_tensor(streams, dtype=torch.long, device=self.processed.device)
        return type(self)(*(getattr(self, f.name).index_select(0, index) for f in fields(self)))

    @staticmethod
    def cat(states: Sequence[AnyHistory]) -> AnyHistory:
        """Joins streams into one batch; they may have heard different numbers of frames."""
        if len(states) == 1:
            return states[0]
        columns = max(state.emitted.shape[-1] for state in states)
        padded = [state._with_columns(columns) for state in states]
        names = [f.name for f in fields(states[0])]
        return type(states[0])(*(torch.cat([getattr(s, n) for s in padded]) for n in names))

    def _with_columns(self, columns: int) -> Self:
        missing = (0, columns - self.emitted.shape[-1])
        if missing == (0, 0):
            return self
        return replace(
            self,
            emitted=F.pad(self.emitted, missing, value=NOTHING),
            frames=F.pad(self.frames, missing),
            log_probs=F.pad(self.log_probs, missing),
        )


AnyHistory = TypeVar("AnyHistory", bound=History)


def take_emitted(state: AnyHistory) -> tuple[list[Hypothesis], AnyHistory]:
    """Takes all tokens out of a state without a beam, where nothing emitted is ever changed.

    Returns:
        What each stream has emitted since the last time, and the state that goes on.
    """
    none = state.emitted[:, :0]
    rest = replace(state, emitted=none, frames=none, log_probs=state.log_probs[:, :0])
    return to_hypotheses(state.emitted, state.frames, state.log_probs), rest


def to_hypotheses(emitted: Tensor, frames: Tensor, log_probs: Tensor) -> list[Hypothesis]:
    """Three times (B, N) -> the lists of each stream, without the columns that hold no token."""
    found = []
    columns = zip(emitted.tolist(), frames.tolist(), log_probs.tolist(), strict=True)
    for tokens, times, scores in columns:
        speaks = [token != NOTHING for token in tokens]
        found.append(Hypothesis(*(list(compress(x, speaks)) for x in (tokens, times, scores))))
    return found
