"""Modified beam search for transducers: the best hypotheses, at most one token per frame.

Every stream has K slots, each of which holds a hypothesis or is empty (its score is minus
infinity). In every frame the best K of all hypotheses with all tokens are kept; those that have
become the same tokens, though at other frames, become one, with the probability of both.

Letters: B batch, T encoder output frames (25 Hz), D channels, J joiner dimension, K slots,
S tokens that the predictor sees, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from zipformer.biasing import Hotwords
from zipformer.search.beam_history import (
    EMPTY,
    BeamHistory,
    Column,
    empty_history,
    extend_hash,
    hypotheses_in,
    of_parents,
    still_apart,
    take_common,
    with_history,
)
from zipformer.search.biased_search import BiasedSearch
from zipformer.search.heads import JoinerHead, PredictorHead
from zipformer.search.history import NOTHING
from zipformer.search.protocol import Hypothesis, NBestEntry
from zipformer.search.transducer_search import TransducerSearch


@dataclass
class BeamState(BeamHistory):
    """What streams carry from one step to the next: K hypotheses each, the first slot never empty.

    Args:
        processed, emitted, frames, log_probs, scores, apart, nodes, earned: As in ``BeamHistory``,
            a row a slot.
        context: (B, K, S) int64, the last tokens, which the predictor sees.
        predicted: (B, K, J), what the joiner makes of the predictor's output for them.
        counts: (B, K) int64, number of tokens, taken ones included.
        hashes: (B, K) int64, equal for equal tokens, taken ones included.
    """

    context: Tensor
    predicted: Tensor
    counts: Tensor
    hashes: Tensor


AnyBeamState = TypeVar("AnyBeamState", bound=BeamState)


class ModifiedBeamSearch(TransducerSearch[BeamState], BiasedSearch[BeamState]):
    """Modified beam search, batched and step by step (a ``Searcher``).

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
        hotwords: Phrases that are preferred.

    Raises:
        ValueError: If the beam or the horizon is less than 1.
    """

    def __init__(
        self,
        predictor: PredictorHead,
        joiner: JoinerHead,
        blank_id: int = 0,
        unk_id: int | None = None,
        beam: int = 4,
        horizon: int = 1000,
        hotwords: Hotwords | None = None,
    ) -> None:
        if beam < 1 or horizon < 1:
            raise ValueError(f"beam {beam} and horizon {horizon} must be at least 1")
        super().__init__(predictor, joiner, blank_id, unk_id)
        self.beam = beam
        self.horizon = horizon
        self._set_hotwords(hotwords, (blank_id, self.unk_id), joiner.device)

    @torch.no_grad()
    def initial_state(self, batch_size: int) -> BeamState:
        """The state before the first frame: one empty hypothesis in the first slot."""
        context = self._first_context(batch_size)
        zeros = context.new_zeros(batch_size, self.beam)
        return BeamState(
            **empty_history(batch_size, self.beam, self.beam, self._root, context.device),
            context=context[:, None].repeat(1, self.beam, 1),
            predicted=self._predict(context)[:, None].repeat(1, self.beam, 1),
            counts=zeros,
            hashes=zeros,
        )

    @torch.no_grad()
    def step(self, encoder_out: Tensor, lengths: Tensor, state: BeamState) -> BeamState:
        """Goes on with the next frames; see ``Searcher.step``."""
        lengths = lengths.to(encoder_out.device)
        encoded = self.joiner.project_encoder(encoder_out)  # (B, T, J)
        slots, columns = state, []
        for t in range(encoder_out.shape[1]):
            slots, column = self._advance(encoded[:, t], t < lengths, slots)
            columns.append(column)
        return with_history(slots, columns, processed=state.processed + lengths)

    def hypotheses(self, state: BeamState) -> list[Hypothesis]:
        """The best hypothesis of each stream so far, without what was taken."""
        per_token = (state.scores + state.earned) / (state.counts + self.predictor.context_size)
        return hypotheses_in(state, per_token.argmax(dim=1))

    def n_best(self, state: BeamState) -> list[list[NBestEntry]]:
        """The hypotheses in the slots of each stream."""
        slots = [
            hypotheses_in(state, torch.full_like(state.processed, k)) for k in range(self.beam)
        ]
        return NBestEntry.lists(state.scores + state.earned, slots)

    def take(self, state: BeamState) -> tuple[list[Hypothesis], BeamState]:
        """Takes out of the state what all hypotheses of a stream begin with, at the same frames.

        No later frame can change that, as every later hypothesis goes on from one of these. What
        they differ in stays until they agree, and with it all that follows.

        Returns:
            What has become final in each stream since the last time, and the state that goes on.
        """
        first = torch.zeros_like(state.processed)  # the first slot is never empty
        return take_common(state, first)

    def _advance(
        self, encoded: Tensor, valid: Tensor, state: BeamState
    ) -> tuple[BeamState, Column]:
        """One frame (B, J); what it emits is not in the state yet, but in the column."""
        logits = self.joiner(encoded[:, None], state.predicted, project=False)  # (B, K, V)
        log_probs = logits.float().log_softmax(-1)
        scores, parents, tokens, log_probs = _best(log_probs, state, self._worth_of_tokens(state))
        # A stream without a frame keeps its slots as they are.
        valid = valid[:, None]
        own = torch.arange(self.beam, device=encoded.device)
        scores = torch.where(valid, scores, state.scores)
        parents = torch.where(valid, parents, own)
        slots, tokens = self._go_on(state, parents, tokens, valid)
        same, repeated = equal_hypotheses(slots.hashes, slots.counts)
        # Equal hypotheses are one with the probability of both; the first of them stays.
        scores = scores[:, None].masked_fill(~same, EMPTY).logsumexp(dim=2)  # (B, K)
        gone = repeated | (slots.apart[:, 0] >= self.horizon)
        slots = replace(slots, scores=scores.masked_fill(gone, EMPTY))
        return slots, Column(parents, tokens, log_probs)

    def _go_on(
        self, state: AnyBeamState, parents: Tensor, tokens: Tensor, valid: Tensor
    ) -> tuple[AnyBeamState, Tensor]:
        """Slots that go on from others with a token each, all but their scores.

        Args:
            state: Before the frame.
            parents: (B, K) the slot that each goes on from.
            tokens: (B, K), blanks and unknown tokens among them.
            valid: (B, 1) which streams have this frame.

        Returns:
            The slots, and the tokens that were emitted: (B, K), -1 for nothing.
        """
        speaks = self._speaks(tokens) & valid
        tokens = tokens.masked_fill(~speaks, NOTHING)
        hashes = state.hashes.gather(1, parents)
        context, predicted = self._look_back(state, parents, tokens)
        nodes, earned = self._bias(state, parents, tokens)
        slots = replace(
            state,
            nodes=nodes,
            earned=earned,
            context=context,
            predicted=predicted,
            counts=state.counts.gather(1, parents) + speaks,
            hashes=torch.where(speaks, extend_hash(hashes, tokens), hashes),
            apart=still_apart(state.apart + valid[:, :, None], parents),
        )
        return slots, tokens

    def _look_back(
        self, state: BeamState, parents: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The new contexts, and what the predictor makes of those that have changed."""
        context = of_parents(state.context, parents)
        predicted = of_parents(state.predicted, parents)
        rows = (tokens != NOTHING).nonzero(as_tuple=True)
        if len(rows[0]):
            context[rows] = torch.cat([context[rows][:, 1:], tokens[rows][:, None]], dim=1)
            predicted[rows] = self._predict(context[rows])
        return context, predicted


def _best(
    log_probs: Tensor, state: BeamState, worth: Tensor | float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best K of (B, K, V) log-probabilities after the hypotheses of a state, best first.

    What tokens are worth besides counts in the choice, not in the scores.

    Returns:
        Scores, the slots that they go on from, tokens, and the tokens' log-probabilities: (B, K).
    """
    beam, vocabulary = log_probs.shape[1:]
    width = min(beam, vocabulary)  # no slot can have more than K among the best K
    liked, tokens = (log_probs + worth).topk(width)  # (B, K, width)
    before = (state.scores + state.earned)[:, :, None]
    index = (before + liked).flatten(1).topk(beam).indices
    parents, tokens = index // width, tokens.flatten(1).gather(1, index)
    log_probs = log_probs.flatten(1).gather(1, parents * vocabulary + tokens)
    return state.scores.gather(1, parents) + log_probs, parents, tokens, log_probs


def equal_hypotheses(hashes: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Which slots hold the same tokens, (B, K, K), and which repeat one before them, (B, K)."""
    same = (hashes[:, :, None] == hashes[:, None]) & (counts[:, :, None] == counts[:, None])
    return same, same.tril(diagonal=-1).any(dim=2)
