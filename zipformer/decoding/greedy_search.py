"""Greedy search for transducers: the best token of every frame, at most one per frame.

The predictor sees only the last few tokens, so its output is kept until a token is emitted. What
is emitted goes into tensors (one column per frame) and becomes lists at the very end: no Python
loop over utterances while frames go by.

Letters: B batch, T encoder output frames (25 Hz), D channels, J joiner dimension, N frames so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.decoding.protocol import Hypothesis
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor
from zipformer.model import Transducer

NOTHING = -1  # in GreedyState.emitted: no token at this frame


@dataclass
class GreedyState:
    """Everything that streams carry from one step to the next; the stream's axis comes first.

    Args:
        context: (B, context_size) int64, the last tokens, which the predictor sees.
        predicted: (B, J), what the joiner makes of the predictor's output for them.
        processed: (B,) int64, valid output frames so far.
        emitted: (B, N) int64, the token of every frame, -1 where there is none.
        frames: (B, N) int64, the output frame that each column of ``emitted`` belongs to.
        log_probs: (B, N) float32, log-probabilities of the emitted tokens.
    """

    context: Tensor
    predicted: Tensor
    processed: Tensor
    emitted: Tensor
    frames: Tensor
    log_probs: Tensor

    def select(self, streams: Sequence[int] | Tensor) -> GreedyState:
        """The states of some streams, by index along the batch axis."""
        index = torch.as_tensor(streams, dtype=torch.long, device=self.processed.device)
        return GreedyState(*(getattr(self, f.name).index_select(0, index) for f in fields(self)))

    @staticmethod
    def cat(states: Sequence[GreedyState]) -> GreedyState:
        """Joins streams into one batch; they may have heard different numbers of frames."""
        columns = max(state.emitted.shape[1] for state in states)
        padded = [state._with_columns(columns) for state in states]
        names = [f.name for f in fields(GreedyState)]
        return GreedyState(*(torch.cat([getattr(s, n) for s in padded]) for n in names))

    def _with_columns(self, columns: int) -> GreedyState:
        missing = (0, columns - self.emitted.shape[1])
        return GreedyState(
            self.context,
            self.predicted,
            self.processed,
            F.pad(self.emitted, missing, value=NOTHING),
            F.pad(self.frames, missing),
            F.pad(self.log_probs, missing),
        )


class GreedySearch:
    """Greedy search, batched and step by step (a ``Decoder``).

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

    @torch.no_grad()
    def initial_state(self, batch_size: int) -> GreedyState:
        """The state before the first frame: the predictor has seen a blank, before it nothing."""
        device = self.joiner.output_linear.weight.device
        context = torch.full(
            (batch_size, self.predictor.context_size), -1, dtype=torch.int64, device=device
        )
        context[:, -1] = self.blank_id
        none = torch.zeros(batch_size, 0, dtype=torch.int64, device=device)
        return GreedyState(
            context=context,
            predicted=self._predict(context),
            processed=torch.zeros(batch_size, dtype=torch.int64, device=device),
            emitted=none,
            frames=none,
            log_probs=none.float(),
        )

    @torch.no_grad()
    def step(self, encoder_out: Tensor, lengths: Tensor, state: GreedyState) -> GreedyState:
        """Goes on with the next frames of each stream.

        Args:
            encoder_out: (B, T, D).
            lengths: (B,) valid frames of these; what lies behind them changes nothing.
            state: What the previous step returned; it is not changed.

        Returns:
            The new state.
        """
        num_frames = encoder_out.shape[1]
        index = torch.arange(num_frames, device=encoder_out.device)
        lengths = lengths.to(encoder_out.device)
        valid = index < lengths[:, None]  # (B, T)
        encoded = self.joiner.encoder_proj(encoder_out)  # (B, T, J)
        context, predicted = state.context, state.predicted
        emitted, log_probs = [state.emitted], [state.log_probs]
        for t in range(num_frames):
            logits = self.joiner(encoded[:, t], predicted, project=False)  # (B, V)
            log_prob, token = logits.float().log_softmax(dim=-1).max(dim=-1)
            speaks = (token != self.blank_id) & (token != self.unk_id) & valid[:, t]
            emitted.append(token.masked_fill(~speaks, NOTHING)[:, None])
            log_probs.append(log_prob[:, None])
            if speaks.any():
                shifted = torch.cat([context[:, 1:], token[:, None]], dim=1)
                context = torch.where(speaks[:, None], shifted, context)
                predicted = self._predict(context)
        return GreedyState(
            context=context,
            predicted=predicted,
            processed=state.processed + lengths,
            emitted=torch.cat(emitted, dim=1),
            frames=torch.cat([state.frames, state.processed[:, None] + index], dim=1),
            log_probs=torch.cat(log_probs, dim=1),
        )

    def hypotheses(self, state: GreedyState) -> list[Hypothesis]:
        """What each stream has emitted so far."""
        found = []
        emitted, frames, log_probs = state.emitted.cpu(), state.frames.cpu(), state.log_probs.cpu()
        for tokens, times, scores in zip(emitted, frames, log_probs, strict=True):
            speaks = tokens != NOTHING
            found.append(
                Hypothesis(tokens[speaks].tolist(), times[speaks].tolist(), scores[speaks].tolist())
            )
        return found

    def take(self, state: GreedyState) -> tuple[list[Hypothesis], GreedyState]:
        """Takes what was emitted out of the state, so that a long stream does not grow.

        Returns:
            What each stream has emitted since the last time, and the state that goes on.
        """
        none = state.emitted[:, :0]
        rest = replace(state, emitted=none, frames=none, log_probs=state.log_probs[:, :0])
        return self.hypotheses(state), rest

    def decode(self, encoder_out: Tensor, lengths: Tensor) -> list[Hypothesis]:
        """Whole utterances at once: the same as any cutting of them into steps.

        Args:
            encoder_out: (B, T, D).
            lengths: (B,) valid frames.
        """
        return self.hypotheses(
            self.step(encoder_out, lengths, self.initial_state(encoder_out.shape[0]))
        )

    def _predict(self, context: Tensor) -> Tensor:
        """(B, context_size) tokens -> (B, J)."""
        return self.joiner.decoder_proj(self.predictor(context, pad=False)).squeeze(1)


def greedy(
    model: Transducer, encoder_out: Tensor, lengths: Tensor, unk_id: int | None = None
) -> list[Hypothesis]:
    """Greedy search over the encodings of whole utterances.

    Args:
        model: Whose predictor and joiner search.
        encoder_out: (B, T, D).
        lengths: (B,) valid frames.
        unk_id: A token that is treated as blank, as decode.py does with ``<unk>``; None if none is.

    Returns:
        One hypothesis an utterance.
    """
    search = GreedySearch(model.predictor, model.joiner, model.predictor.blank_id, unk_id)
    return search.decode(encoder_out, lengths)
