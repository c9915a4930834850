"""Prefix beam search for CTC: the most probable transcripts, summed over their alignments.

A transcript has many alignments: tokens may repeat from frame to frame, with blanks between them.
The search (Hannun et al., arXiv 1408.2873; after Graves, 2012, section 7.5.3) follows the K best
prefixes of transcripts and knows of each the probability of all its alignments that end in a blank,
and of all that end in its last token: a token that follows an equal one needs a blank between.

Beside the sums it follows the single best alignment of each kind, which tells when tokens were
spoken. So a stream has 2 K rows: first those that end in a blank, then those that end in a token.

Letters: B batch, T encoder output frames (25 Hz), D channels, K slots, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from zipformer.biasing import Hotwords
from zipformer.search.beam_history import (
    EMPTY,
    Column,
    empty_history,
    extend_hash,
    hypotheses_in,
    still_apart,
    take_common,
    with_history,
)
from zipformer.search.biased_search import BiasedSearch
from zipformer.search.ctc_prefixes import CtcBeamState, Grown, Kept, better_row, grow, keep, source
from zipformer.search.ctc_search import CtcSearch
from zipformer.search.history import NOTHING
from zipformer.search.protocol import Hypothesis, NBestEntry


class CtcPrefixBeamSearch(CtcSearch[CtcBeamState], BiasedSearch[CtcBeamState]):
    """Prefix beam search, batched and step by step (a ``Searcher``).

    With a beam that holds every prefix the result is exact: the transcript whose alignments have
    the greatest probability together.

    Args:
        output: The head, (B, T, D) -> (B, T, V) log-probabilities.
        blank_id: The token that means "nothing here".
        unk_id: A token that is treated as blank; None if there is none.
        beam: K, prefixes that are followed in each stream.
        horizon: Output frames (40 ms) for which an alignment may differ from the best before it is
            given up: what was emitted longer ago is final.
        hotwords: Phrases that are preferred.

    Raises:
        ValueError: If the beam or the horizon is less than 1.
    """

    def __init__(
        self,
        output: nn.Module,
        blank_id: int = 0,
        unk_id: int | None = None,
        beam: int = 4,
        horizon: int = 1000,
        hotwords: Hotwords | None = None,
    ) -> None:
        if beam < 1 or horizon < 1:
            raise ValueError(f"beam {beam} and horizon {horizon} must be at least 1")
        super().__init__(output, blank_id, unk_id)
        self.beam = beam
        self.horizon = horizon
        silent = dict.fromkeys((self.blank_id, self.unk_id))
        self._set_hotwords(hotwords, tuple(silent), self._device())

    def initial_state(self, batch_size: int) -> CtcBeamState:
        """The state before the first frame: the empty prefix in the first slot."""
        rows, device = 2 * self.beam, self._device()
        history = empty_history(batch_size, rows, self.beam, self._root, device)
        zeros = history["processed"].new_zeros(batch_size, self.beam)
        return CtcBeamState(
            **history,
            sums=history["scores"],
            last=zeros + self.blank_id,
            counts=zeros,
            hashes=zeros,
        )

    @torch.no_grad()
    def step(self, encoder_out: Tensor, lengths: Tensor, state: CtcBeamState) -> CtcBeamState:
        """Goes on with the next frames; see ``Searcher.step``."""
        lengths = lengths.to(encoder_out.device)
        log_probs = self.output(encoder_out).double()  # (B, T, V)
        slots, columns = state, []
        for t in range(encoder_out.shape[1]):
            slots, column = self._advance(log_probs[:, t], t < lengths, slots)
            columns.append(column)
        return with_history(slots, columns, processed=state.processed + lengths)

    def hypotheses(self, state: CtcBeamState) -> list[Hypothesis]:
        """The most probable transcript of each stream so far, without what was taken."""
        return hypotheses_in(state, self._best_row(state))

    def n_best(self, state: CtcBeamState) -> list[list[NBestEntry]]:
        """The prefixes of each stream."""
        rows = better_row(state.scores)
        slots = [hypotheses_in(state, rows[:, k]) for k in range(self.beam)]
        return NBestEntry.lists(state.totals + state.earned, slots)

    def take(self, state: CtcBeamState) -> tuple[list[Hypothesis], CtcBeamState]:
        """Takes out of the state what all alignments of a stream begin with, at the same frames."""
        return take_common(state, self._best_row(state))

    def _best_row(self, state: CtcBeamState) -> Tensor:
        """(B,) the best alignment of the most probable prefix."""
        slot = (state.totals + state.earned).argmax(dim=1, keepdim=True)
        return better_row(state.scores).gather(1, slot).squeeze(1)

    def _advance(
        self, log_probs: Tensor, valid: Tensor, state: CtcBeamState
    ) -> tuple[CtcBeamState, Column]:
        """One frame (B, V); what it emits is not in the state yet, but in the column."""
        grown = grow(log_probs, state, self._silent)
        kept = keep(log_probs, state, grown, self._silent)
        slot, token, stays = self._choose(state, kept, grown)

        def choose(old: Tensor, new: Tensor | float) -> Tensor:
            """(B, K) of prefixes that stay, or of those that have grown."""
            return torch.where(stays, old.gather(1, slot), new)

        last = state.last.gather(1, slot)
        arc = slot * log_probs.shape[1] + token
        best, sums = (x.flatten(1).gather(1, arc) for x in (grown.best, grown.sums))
        before = source(last == token, slot, grown.row.gather(1, slot))
        blank_sum, blank_best = choose(kept.blank_sum, EMPTY), choose(kept.blank_best, EMPTY)
        token_sum = choose(kept.token_sum, sums)
        token_best, emitted = choose(kept.token_best, best), choose(kept.joined, token)
        column = Column(
            parents=torch.cat([choose(kept.blank_row, slot), choose(kept.token_row, before)], 1),
            tokens=torch.cat([torch.full_like(emitted, NOTHING), emitted], dim=1),
            log_probs=log_probs.float().gather(1, emitted.clamp(min=0)).repeat(1, 2),
        )
        nodes, earned = self._bias(state, slot, token.masked_fill(stays, NOTHING))
        after = replace(
            state,
            nodes=nodes,
            earned=earned,
            sums=torch.cat([blank_sum, token_sum], dim=1),
            scores=torch.cat([blank_best, token_best], dim=1),
            last=torch.where(stays, last, token),
            counts=state.counts.gather(1, slot) + ~stays,
            hashes=choose(state.hashes, extend_hash(state.hashes.gather(1, slot), token)),
        )
        return self._settle(state, after, column, valid)

    def _choose(
        self, state: CtcBeamState, kept: Kept, grown: Grown
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The prefixes of the next frame, (B, K) each, the best first.

        Returns:
            The slots that they go on from, their tokens, and which stay as they are without one.
        """
        before = state.earned[:, :, None]
        liked, tokens = (grown.sums + self._worth_of_tokens(state)).topk(
            min(self.beam, grown.sums.shape[2])
        )  # (B, K, width)
        totals = torch.logaddexp(kept.blank_sum, kept.token_sum) + state.earned
        candidates = torch.cat([totals + self._promise(state), (before + liked).flatten(1)], dim=1)
        index = candidates.topk(self.beam).indices
        stays = index < self.beam
        branch = (index - self.beam).clamp(min=0)
        slot = torch.where(stays, index, branch // tokens.shape[2])
        return slot, tokens.flatten(1).gather(1, branch), stays

    def _settle(
        self, before: CtcBeamState, after: CtcBeamState, column: Column, valid: Tensor
    ) -> tuple[CtcBeamState, Column]:
        """Streams without a frame keep what they had; rows apart for too long are given up."""
        valid = valid[:, None]
        own = torch.arange(2 * self.beam, device=valid.device)
        parents = torch.where(valid, column.parents, own)
        column = Column(parents, column.tokens.masked_fill(~valid, NOTHING), column.log_probs)
        changed = ("sums", "scores", "last", "counts", "hashes", "nodes", "earned")
        values = {n: torch.where(valid, getattr(after, n), getattr(before, n)) for n in changed}
        after = replace(after, **values)
        apart = still_apart(before.apart + valid[:, :, None], parents)
        first = self._best_row(after)
        far = apart[torch.arange(len(first), device=first.device), first] >= self.horizon
        return replace(
            after,
            apart=apart,
            sums=after.sums.masked_fill(far, EMPTY),
            scores=after.scores.masked_fill(far, EMPTY),
        ), column
