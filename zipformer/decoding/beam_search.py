"""Modified beam search for transducers: the best hypotheses, at most one token per frame.

Every stream has K slots, each of which holds a hypothesis or is empty (its score is minus
infinity). In every frame the best K of all hypotheses with all tokens are kept; those that have
become the same tokens, though at other frames, become one, with the probability of both. What a
frame did to the slots goes into tensors (the slot that each came from, and its token); the way
back through the frames of a step is gone once at its end. No Python loop over utterances or
hypotheses while frames go by.

Letters: B batch, T encoder output frames (25 Hz), D channels, J joiner dimension, K slots,
S tokens that the predictor sees, V vocabulary, N tokens held of the longest hypothesis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from zipformer.decoding.protocol import Hypothesis
from zipformer.decoding.transducer_search import (
    NOTHING,
    TransducerSearch,
    TransducerState,
    to_hypotheses,
)
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor

EMPTY = -torch.inf  # score of a slot that holds no hypothesis
HASH_FACTOR = 6364136223846793005  # odd, so that no two hashes become one; from Knuth's MMIX


@dataclass
class BeamState(TransducerState):
    """What streams carry from one step to the next: K hypotheses each, the first slot never empty.

    Args:
        context: (B, K, S) int64, the last tokens, which the predictor sees.
        predicted: (B, K, J), what the joiner makes of the predictor's output for them.
        processed: (B,) int64, valid output frames so far.
        emitted: (B, K, N) int64, the tokens of each hypothesis that are not taken yet, -1 behind.
        frames: (B, K, N) int64, the output frame of each.
        log_probs: (B, K, N) float32, the log-probability of each.
        scores: (B, K) float64, log-probability of each hypothesis, taken tokens included; float32
            would lose the differences between hypotheses in long streams.
        counts: (B, K) int64, number of tokens, taken ones included.
        hashes: (B, K) int64, equal for equal tokens, taken ones included.
        apart: (B, K, K) int64, for how many frames two hypotheses have differed.
    """

    scores: Tensor
    counts: Tensor
    hashes: Tensor
    apart: Tensor


class Column(NamedTuple):
    """What one frame did to the slots: three times (B, K).

    Args:
        parents: The slot that the hypothesis was in before the frame.
        tokens: What it emitted, -1 for nothing.
        log_probs: The log-probability of that.
    """

    parents: Tensor
    tokens: Tensor
    log_probs: Tensor


class ModifiedBeamSearch(TransducerSearch[BeamState]):
    """Modified beam search, batched and step by step (a ``Decoder``).

    In the end the hypothesis with the greatest log-probability per token wins; the S tokens that
    the predictor sees before the first frame count, as in the published search. That search lets
    hypotheses differ for ever in a word that is as likely as another, so that nothing after it
    becomes final. Here they may differ for ``horizon`` frames; shorter utterances are searched as
    published.

    Args:
        predictor: Of the trained model.
        joiner: Of the trained model.
        blank_id: The token that means "nothing here".
        unk_id: A token for which nothing is emitted either; None if there is none.
        beam: K, hypotheses that are followed in each stream.
        horizon: Output frames (40 ms) for which a hypothesis may differ from the first before it is
            given up: what was emitted longer ago is final.

    Raises:
        ValueError: If the beam or the horizon is less than 1.
    """

    def __init__(
        self,
        predictor: StatelessPredictor,
        joiner: Joiner,
        blank_id: int = 0,
        unk_id: int | None = None,
        beam: int = 4,
        horizon: int = 1000,
    ) -> None:
        if beam < 1 or horizon < 1:
            raise ValueError(f"beam {beam} and horizon {horizon} must be at least 1")
        super().__init__(predictor, joiner, blank_id, unk_id)
        self.beam = beam
        self.horizon = horizon

    @torch.no_grad()
    def initial_state(self, batch_size: int) -> BeamState:
        """The state before the first frame: one empty hypothesis in the first slot."""
        context = self._first_context(batch_size)
        zeros = context.new_zeros(batch_size, self.beam)
        scores = torch.full_like(zeros, EMPTY, dtype=torch.float64)
        scores[:, 0] = 0.0
        none = zeros[:, :, None][:, :, :0]
        return BeamState(
            context=context[:, None].repeat(1, self.beam, 1),
            predicted=self._predict(context)[:, None].repeat(1, self.beam, 1),
            processed=zeros[:, 0],
            emitted=none,
            frames=none,
            log_probs=none.float(),
            scores=scores,
            counts=zeros,
            hashes=zeros,
            apart=zeros[:, :, None].repeat(1, 1, self.beam),
        )

    @torch.no_grad()
    def step(self, encoder_out: Tensor, lengths: Tensor, state: BeamState) -> BeamState:
        """Goes on with the next frames of each stream.

        Args:
            encoder_out: (B, T, D).
            lengths: (B,) valid frames of these; what lies behind them changes nothing.
            state: What the previous step returned; it is not changed.

        Returns:
            The new state.
        """
        lengths = lengths.to(encoder_out.device)
        encoded = self.joiner.encoder_proj(encoder_out)  # (B, T, J)
        slots, columns = state, []
        for t in range(encoder_out.shape[1]):
            slots, column = self._advance(encoded[:, t], t < lengths, slots)
            columns.append(column)
        return _with_history(slots, columns, processed=state.processed + lengths)

    def hypotheses(self, state: BeamState) -> list[Hypothesis]:
        """The best hypothesis of each stream so far, without what was taken."""
        per_token = state.scores / (state.counts + self.predictor.context_size)
        return _hypotheses_in(state, per_token.argmax(dim=1))

    def take(self, state: BeamState) -> tuple[list[Hypothesis], BeamState]:
        """Takes out of the state what all hypotheses of a stream begin with, at the same frames.

        No later frame can change that, as every later hypothesis goes on from one of these. What
        they differ in stays until they agree, and with it all that follows.

        Returns:
            What has become final in each stream since the last time, and the state that goes on.
        """
        first = torch.zeros_like(state.processed)  # the first slot is never empty
        empty = (state.scores == EMPTY)[:, :, None]
        emitted, times = state.emitted, state.frames
        common = (emitted == emitted[:, :1]) & (times == times[:, :1]) & (emitted != NOTHING)
        final = (common | empty).all(dim=1).cumprod(dim=1)  # (B, N)
        taken = replace(state, emitted=emitted.masked_fill(final[:, None] == 0, NOTHING))
        rest = replace(state, emitted=emitted.masked_fill(final[:, None] == 1, NOTHING))
        return _hypotheses_in(taken, first), _compact(rest)

    def _advance(
        self, encoded: Tensor, valid: Tensor, state: BeamState
    ) -> tuple[BeamState, Column]:
        """One frame (B, J); what it emits is not in the state yet, but in the column."""
        logits = self.joiner(encoded[:, None], state.predicted, project=False)  # (B, K, V)
        scores, parents, tokens, log_probs = _best(logits.float().log_softmax(-1), state.scores)
        # A stream without a frame keeps its slots as they are.
        valid = valid[:, None]
        own = torch.arange(self.beam, device=encoded.device)
        scores = torch.where(valid, scores, state.scores)
        parents = torch.where(valid, parents, own)
        speaks = self._speaks(tokens) & valid
        tokens = tokens.masked_fill(~speaks, NOTHING)

        counts = state.counts.gather(1, parents) + speaks
        hashes = state.hashes.gather(1, parents)
        hashes = torch.where(speaks, _extend_hash(hashes, tokens), hashes)
        apart = _still_apart(state.apart + valid[:, :, None], parents)
        scores = _merge(scores, hashes, counts).masked_fill(apart[:, 0] >= self.horizon, EMPTY)
        context, predicted = self._look_back(state, parents, tokens)
        slots = replace(
            state,
            context=context,
            predicted=predicted,
            scores=scores,
            counts=counts,
            hashes=hashes,
            apart=apart,
        )
        return slots, Column(parents, tokens, log_probs)

    def _look_back(
        self, state: BeamState, parents: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The new contexts, and what the predictor makes of those that have changed."""
        context = _of_parents(state.context, parents)
        predicted = _of_parents(state.predicted, parents)
        rows = (tokens != NOTHING).nonzero(as_tuple=True)
        if len(rows[0]):
            context[rows] = torch.cat([context[rows][:, 1:], tokens[rows][:, None]], dim=1)
            predicted[rows] = self._predict(context[rows])
        return context, predicted


def _best(log_probs: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best K of (B, K, V) log-probabilities after hypotheses of (B, K) scores, best first.

    Returns:
        Scores, the slots that they go on from, tokens, and the tokens' log-probabilities: (B, K).
    """
    beam, vocabulary = log_probs.shape[1:]
    width = min(beam, vocabulary)  # no slot can have more than K among the best K
    log_probs, tokens = log_probs.topk(width)  # (B, K, width)
    scores, index = (scores[:, :, None] + log_probs).flatten(1).topk(beam)
    tokens, log_probs = tokens.flatten(1).gather(1, index), log_probs.flatten(1).gather(1, index)
    return scores, index // width, tokens, log_probs


def _merge(scores: Tensor, hashes: Tensor, counts: Tensor) -> Tensor:
    """Adds the probabilities of equal hypotheses in the first of them and empties the others."""
    same = (hashes[:, :, None] == hashes[:, None]) & (counts[:, :, None] == counts[:, None])
    together = scores[:, None].masked_fill(~same, EMPTY).logsumexp(dim=2)  # (B, K)
    repeated = same.tril(diagonal=-1).any(dim=2)
    return together.masked_fill(repeated, EMPTY)


def _extend_hash(hashes: Tensor, tokens: Tensor) -> Tensor:
    """Hashes of hypotheses with a token more: a permutation of the 64-bit integers per token."""
    hashes = hashes * HASH_FACTOR + tokens + 1  # overflows wrap around
    return hashes ^ ((hashes >> 32) & 0xFFFFFFFF)


def _still_apart(apart: Tensor, parents: Tensor) -> Tensor:
    """(B, K, K) of the slots that hypotheses came from -> of the hypotheses; 0 if it is one."""
    beam = parents.shape[1]
    pairs = parents[:, :, None] * beam + parents[:, None]  # (B, K, K)
    differ = parents[:, :, None] != parents[:, None]
    return apart.flatten(1).gather(1, pairs.flatten(1)).view_as(pairs) * differ


def _of_parents(values: Tensor, parents: Tensor) -> Tensor:
    """(B, K, n) in the order of the (B, K) slots that hypotheses came from."""
    return values.gather(1, parents[:, :, None].expand(-1, -1, values.shape[2]))


def _with_history(state: BeamState, columns: Sequence[Column], processed: Tensor) -> BeamState:
    """Goes back through the frames of a step and appends what led to each slot to its tokens."""
    slot = torch.arange(state.scores.shape[1], device=processed.device).expand_as(state.scores)
    emitted: list[Tensor] = []
    log_probs: list[Tensor] = []
    for column in reversed(columns):
        emitted.append(column.tokens.gather(1, slot)[:, :, None])
        log_probs.append(column.log_probs.gather(1, slot)[:, :, None])
        slot = column.parents.gather(1, slot)
    index = torch.arange(len(columns), device=processed.device)
    frames = (state.processed[:, None, None] + index).expand(-1, slot.shape[1], -1)
    longer = replace(
        state,
        processed=processed,
        emitted=torch.cat([_of_parents(state.emitted, slot), *reversed(emitted)], dim=2),
        frames=torch.cat([_of_parents(state.frames, slot), frames], dim=2),
        log_probs=torch.cat([_of_parents(state.log_probs, slot), *reversed(log_probs)], dim=2),
    )
    return _compact(longer)


def _compact(state: BeamState) -> BeamState:
    """Removes the columns that hold no token, for each hypothesis by itself, and empty slots'."""
    unused = (state.emitted == NOTHING) | (state.scores == EMPTY)[:, :, None]
    unused, order = unused.byte().sort(dim=2, stable=True)
    longest = int((unused == 0).any(dim=0).any(dim=0).sum())
    unused, order = unused[:, :, :longest], order[:, :, :longest]
    return replace(
        state,
        emitted=state.emitted.gather(2, order).masked_fill(unused == 1, NOTHING),
        frames=state.frames.gather(2, order),
        log_probs=state.log_probs.gather(2, order),
    )


def _hypotheses_in(state: BeamState, slots: Tensor) -> list[Hypothesis]:
    """The hypotheses in one slot (B,) of each stream."""
    stream = torch.arange(len(slots), device=slots.device)
    history = (state.emitted, state.frames, state.log_probs)
    return to_hypotheses(*(values[stream, slots] for values in history))
