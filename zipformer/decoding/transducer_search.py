"""What the searches for transducers have in common: their constructor, their state, their lists.

Letters: B batch, J joiner dimension, S tokens that the predictor sees, N columns of history; "..."
is the axis of the beam in searches that follow several hypotheses, and nothing in others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.decoding.protocol import Decoder, Hypothesis
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor

NOTHING = -1  # in TransducerState.emitted: no token in this column


@dataclass
class TransducerState:
    """Everything that streams carry from one step to the next; the stream's axis comes first.

    Args:
        context: (B, ..., S) int64, the last tokens, which the predictor sees.
        predicted: (B, ..., J), what the joiner makes of the predictor's output for them.
        processed: (B,) int64, valid output frames so far.
        emitted: (B, ..., N) int64, tokens, -1 where there is none.
        frames: (B, ..., N) int64, the output frame that each column of ``emitted`` belongs to.
        log_probs: (B, ..., N) float32, log-probabilities of the emitted tokens.
    """

    context: Tensor
    predicted: Tensor
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
    def cat(states: Sequence[AnyState]) -> AnyState:
        """Joins streams into one batch; they may have heard different numbers of frames."""
        columns = max(state.emitted.shape[-1] for state in states)
        padded = [state._with_columns(columns) for state in states]
        names = [f.name for f in fields(states[0])]
        return type(states[0])(*(torch.cat([getattr(s, n) for s in padded]) for n in names))

    def _with_columns(self, columns: int) -> Self:
        missing = (0, columns - self.emitted.shape[-1])
        return replace(
            self,
            emitted=F.pad(self.emitted, missing, value=NOTHING),
            frames=F.pad(self.frames, missing),
            log_probs=F.pad(self.log_probs, missing),
        )


AnyState = TypeVar("AnyState", bound=TransducerState)


class TransducerSearch(Decoder[AnyState]):
    """A search over the predictor and joiner of a transducer, at most one token per frame.

    Args:
        predictor: Of the trained model.
        joiner: Of the trained model.
        blank_id: The token that means "nothing here".
        unk_id: A token for which nothing is emitted either; None if there is none.
    """

    def __init__(
        self,
        predictor: StatelessPredictor,
        joiner: Joiner,
        blank_id: int = 0,
        unk_id: int | None = None,
    ) -> None:
        self.predictor = predictor
        self.joiner = joiner
        self.blank_id = blank_id
        self.unk_id = blank_id if unk_id is None else unk_id

    def decode(self, encoder_out: Tensor, lengths: Tensor) -> list[Hypothesis]:
        """Whole utterances at once: the same as any cutting of them into steps.

        Args:
            encoder_out: (B, T, D).
            lengths: (B,) valid frames.
        """
        return self.hypotheses(
            self.step(encoder_out, lengths, self.initial_state(encoder_out.shape[0]))
        )

    def _first_context(self, batch_size: int) -> Tensor:
        """(B, S): before the first frame the predictor has seen a blank, before it nothing."""
        device = self.joiner.output_linear.weight.device
        size = (batch_size, self.predictor.context_size)
        context = torch.full(size, NOTHING, dtype=torch.int64, device=device)
        context[:, -1] = self.blank_id
        return context

    def _speaks(self, token: Tensor) -> Tensor:
        """Which tokens are to be emitted."""
        return (token != self.blank_id) & (token != self.unk_id)

    def _predict(self, context: Tensor) -> Tensor:
        """(B, S) tokens -> (B, J)."""
        return self.joiner.decoder_proj(self.predictor(context, pad=False)).squeeze(1)


def to_hypotheses(emitted: Tensor, frames: Tensor, log_probs: Tensor) -> list[Hypothesis]:
    """Three times (B, N) -> the lists of each stream, without the columns that hold no token."""
    found = []
    columns = zip(emitted.cpu(), frames.cpu(), log_probs.cpu(), strict=True)
    for tokens, times, scores in columns:
        speaks = tokens != NOTHING
        found.append(
            Hypothesis(tokens[speaks].tolist(), times[speaks].tolist(), scores[speaks].tolist())
        )
    return found
