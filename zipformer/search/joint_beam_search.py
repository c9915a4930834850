"""Beam search over a transducer and a CTC head together, frame by frame.

Every hypothesis knows two probabilities of the frames so far: that of the transducer's alignments
to its tokens, as in modified beam search, and that of the CTC head's, as in prefix beam search. The
search goes by both, ``(1 - weight) * transducer + weight * ctc`` of their logarithms. The heads may
hear a token at different frames: it is written where the transducer has it.

Letters: B batch, T encoder output frames (25 Hz), D channels, K slots, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from zipformer.biasing import Hotwords
from zipformer.search.beam_history import EMPTY, Column, with_history
from zipformer.search.beam_search import BeamState, ModifiedBeamSearch, equal_hypotheses
from zipformer.search.heads import JoinerHead, PredictorHead

# What counts against a hypothesis that the CTC head has no alignment of yet, such as equal tokens
# in neighbouring frames: it stays behind all others, and there until the head has one.
NOT_YET = 1e4


@dataclass
class JointState(BeamState):
    """What streams carry from one step to the next: K hypotheses each, the first slot never empty.

    Args:
        processed, emitted, frames, log_probs, apart, nodes, earned, context, predicted, counts,
            hashes: As in ``BeamState``.
        scores: (B, K) float64, what both heads together make of each.
        heard: (B, K, 3) float64, log-probability of the transducer's alignments, of the CTC head's
            that end in a blank, and of the CTC head's that end in the last token.
    """

    heard: Tensor


class JointBeamSearch(ModifiedBeamSearch):
    """Beam search by two heads, batched and step by step (a ``Searcher``).

    Args:
        predictor, joiner, blank_id, unk_id, beam, horizon, hotwords: As of
            ``ModifiedBeamSearch``.
        output: The CTC head, (B, T, D) -> (B, T, V) log-probabilities.
        weight: Of the CTC head, from 0 to 1.

    Raises:
        ValueError: If beam or horizon is less than 1, or the weight not between 0 and 1.
    """

    def __init__(
        self,
        predictor: PredictorHead,
        joiner: JoinerHead,
        output: nn.Module,
        blank_id: int = 0,
        unk_id: int | None = None,
        beam: int = 4,
        weight: float = 0.3,
        horizon: int = 1000,
        hotwords: Hotwords | None = None,
    ) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"the CTC head's weight {weight} must be between 0 and 1")
        super().__init__(predictor, joiner, blank_id, unk_id, beam, horizon, hotwords)
        self.output = output
        self.weight = weight

    def initial_state(self, batch_size: int) -> JointState:
        """The state before the first frame: one empty hypothesis in the first slot."""
        state = super().initial_state(batch_size)
        heard = state.scores[:, :, None].repeat(1, 1, 3)
        heard[:, :, 2] = EMPTY  # nothing ends in a token yet
        return JointState(**vars(state), heard=heard)

    @torch.no_grad()
    def step(self, encoder_out: Tensor, lengths: Tensor, state: BeamState) -> JointState:
        """Goes on with the next frames; see ``Searcher.step``."""
        assert isinstance(state, JointState)
        lengths = lengths.to(encoder_out.device)
        encoded = self.joiner.project_encoder(encoder_out)  # (B, T, J)
        ctc = self._silence_joined(self.output(encoder_out).double())  # (B, T, V)
        slots, columns = state, []
        for t in range(encoder_out.shape[1]):
            slots, column = self._listen(encoded[:, t], ctc[:, t], t < lengths, slots)
            columns.append(column)
        return with_history(slots, columns, processed=state.processed + lengths)

    def _listen(
        self, encoded: Tensor, ctc: Tensor, valid: Tensor, state: JointState
    ) -> tuple[JointState, Column]:
        """One frame, (B, J) and (B, V)."""
        logits = self.joiner(encoded[:, None], state.predicted, project=False)  # (B, K, V)
        log_probs = self._silence_joined(logits.float().log_softmax(-1).double())
        grown = torch.stack([state.heard[:, :, :1] + log_probs, *_grow_ctc(ctc, state, self)], 3)
        liked = self._worth(grown) + state.earned[:, :, None] + self._worth_of_tokens(state)
        index = liked.flatten(1).topk(self.beam).indices
        valid, size = valid[:, None], log_probs.shape[2]
        own = torch.arange(self.beam, device=encoded.device).expand_as(index)
        parents = torch.where(valid, index // size, own)
        tokens = torch.where(valid, index % size, self.blank_id)
        heard = grown.flatten(1, 2).gather(1, index[:, :, None].expand(-1, -1, 3))
        heard = torch.where(valid[:, :, None], heard, state.heard)

        slots, tokens = self._go_on(state, parents, tokens, valid)
        same, repeated = equal_hypotheses(slots.hashes, slots.counts)
        heard = heard[:, None].masked_fill(~same[:, :, :, None], EMPTY).logsumexp(dim=2)
        gone = repeated | (slots.apart[:, 0] >= self.horizon)
        heard = heard.masked_fill(gone[:, :, None], EMPTY)
        column = Column(parents, tokens, log_probs.float().flatten(1).gather(1, index))
        return replace(slots, heard=heard, scores=self._worth(heard)), column

    def _worth(self, heard: Tensor) -> Tensor:
        """(..., 3) -> (...): what both heads make of hypotheses."""
        transducer, ctc = heard[..., 0], torch.logaddexp(heard[..., 1], heard[..., 2])
        ctc = torch.where(ctc == EMPTY, transducer - NOT_YET, ctc)
        both = (1 - self.weight) * transducer + self.weight * ctc
        return both.masked_fill(transducer == EMPTY, EMPTY)

    def _silence_joined(self, log_probs: Tensor) -> Tensor:
        """(..., V) with the probability of the unknown token given to the blank."""
        if self.unk_id == self.blank_id:
            return log_probs
        both = log_probs[..., [self.blank_id, self.unk_id]].logsumexp(-1)
        log_probs = log_probs.clone()
        log_probs[..., self.blank_id], log_probs[..., self.unk_id] = both, EMPTY
        return log_probs


def _grow_ctc(ctc: Tensor, state: JointState, search: JointBeamSearch) -> tuple[Tensor, Tensor]:
    """Every hypothesis with every token more, in the CTC head's alignments.

    The blank is the hypothesis as it is. A token that repeats the last one goes on from a blank.

    Args:
        ctc: (B, V), what the head says of a frame.
        state: Before it.
        search: Whose blank it is.

    Returns:
        Those that end in a blank and those that end in a token, (B, K, V) each.
    """
    blank, token = state.heard[:, :, 1], state.heard[:, :, 2]  # (B, K)
    either = torch.logaddexp(blank, token)
    last = state.context[:, :, -1]
    ends_in_token = either[:, :, None] + ctc[:, None]
    ends_in_token.scatter_(2, last[:, :, None], (blank + ctc.gather(1, last))[:, :, None])
    ends_in_token[:, :, search.blank_id] = token + ctc.gather(1, last)
    ends_in_blank = torch.full_like(ends_in_token, EMPTY)
    ends_in_blank[:, :, search.blank_id] = either + ctc[:, None, search.blank_id]
    return ends_in_blank, ends_in_token
