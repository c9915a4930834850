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

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from zipformer.search.beam_history import (
    EMPTY,
    BeamHistory,
    Column,
    empty_history,
    extend_hash,
    hypotheses_in,
    still_apart,
    take_common,
    with_history,
)
from zipformer.search.ctc_search import CtcSearch
from zipformer.search.history import NOTHING
from zipformer.search.protocol import BeamSearcher, Hypothesis, NBestEntry


@dataclass
class CtcBeamState(BeamHistory):
    """What streams carry from one step to the next: K prefixes each, the first slot never empty.

    Args:
        processed, emitted, frames, log_probs, apart: As in ``BeamHistory``, 2 K rows.
        scores: (B, 2 K) float64, log-probability of the best alignment of each row.
        sums: (B, 2 K) float64, log-probability of all alignments of each row.
        last: (B, K) int64, the last token of each prefix; the blank if it has none.
        counts: (B, K) int64, number of tokens, taken ones included.
        hashes: (B, K) int64, equal for equal tokens, taken ones included.
    """

    sums: Tensor
    last: Tensor
    counts: Tensor
    hashes: Tensor

    @property
    def totals(self) -> Tensor:
        """(B, K) float64, log-probability of each prefix; minus infinity in empty slots."""
        return torch.logaddexp(*self.sums.chunk(2, dim=1))


@dataclass(frozen=True)
class _Kept:
    """Prefixes that stay as they are in a frame; (B, K) each.

    Rows are those that the best alignments come from, ``joined`` the token of an alignment that
    came from a shorter prefix, or -1.
    """

    blank_sum: Tensor
    blank_best: Tensor
    blank_row: Tensor
    token_sum: Tensor
    token_best: Tensor
    token_row: Tensor
    joined: Tensor


@dataclass(frozen=True)
class _Grown:
    """Prefixes with a token more, (B, K, V) each but ``row``.

    ``row`` (B, K) is where the best alignment comes from if the token is another than the last.
    """

    sums: Tensor
    best: Tensor
    row: Tensor


class CtcPrefixBeamSearch(CtcSearch[CtcBeamState], BeamSearcher[CtcBeamState]):
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
    ) -> None:
        if beam < 1 or horizon < 1:
            raise ValueError(f"beam {beam} and horizon {horizon} must be at least 1")
        super().__init__(output, blank_id, unk_id)
        self.beam = beam
        self.horizon = horizon

    def initial_state(self, batch_size: int) -> CtcBeamState:
        """The state before the first frame: the empty prefix in the first slot."""
        history = empty_history(batch_size, 2 * self.beam, self._device())
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
        rows = _better_row(state.scores)
        slots = [hypotheses_in(state, rows[:, k]) for k in range(self.beam)]
        return NBestEntry.lists(state.totals, slots)

    def take(self, state: CtcBeamState) -> tuple[list[Hypothesis], CtcBeamState]:
        """Takes out of the state what all alignments of a stream begin with, at the same frames."""
        return take_common(state, self._best_row(state))

    def _best_row(self, state: CtcBeamState) -> Tensor:
        """(B,) the best alignment of the most probable prefix."""
        slot = state.totals.argmax(dim=1, keepdim=True)
        return _better_row(state.scores).gather(1, slot).squeeze(1)

    def _advance(
        self, log_probs: Tensor, valid: Tensor, state: CtcBeamState
    ) -> tuple[CtcBeamState, Column]:
        """One frame (B, V); what it emits is not in the state yet, but in the column."""
        grown = self._grow(log_probs, state)
        kept = self._keep(log_probs, state, grown)
        sums, tokens = grown.sums.topk(min(self.beam, log_probs.shape[1]))  # (B, K, width)
        width = tokens.shape[2]
        totals = torch.logaddexp(kept.blank_sum, kept.token_sum)
        candidates = torch.cat([totals, sums.flatten(1)], dim=1)
        _, index = candidates.topk(self.beam)  # the most probable first
        stays = index < self.beam
        branch = (index - self.beam).clamp(min=0)
        slot = torch.where(stays, index, branch // width)
        token = tokens.flatten(1).gather(1, branch)

        def choose(old: Tensor, new: Tensor | float) -> Tensor:
            """(B, K) of prefixes that stay, or of those that have grown."""
            return torch.where(stays, old.gather(1, slot), new)

        last = state.last.gather(1, slot)
        best = grown.best.flatten(1).gather(1, slot * log_probs.shape[1] + token)
        before = _source(last == token, slot, grown.row.gather(1, slot))
        blank_sum, blank_best = choose(kept.blank_sum, EMPTY), choose(kept.blank_best, EMPTY)
        token_sum = choose(kept.token_sum, sums.flatten(1).gather(1, branch))
        token_best, emitted = choose(kept.token_best, best), choose(kept.joined, token)
        column = Column(
            parents=torch.cat([choose(kept.blank_row, slot), choose(kept.token_row, before)], 1),
            tokens=torch.cat([torch.full_like(emitted, NOTHING), emitted], dim=1),
            log_probs=log_probs.float().gather(1, emitted.clamp(min=0)).repeat(1, 2),
        )
        after = replace(
            state,
            sums=torch.cat([blank_sum, token_sum], dim=1),
            scores=torch.cat([blank_best, token_best], dim=1),
            last=torch.where(stays, last, token),
            counts=state.counts.gather(1, slot) + ~stays,
            hashes=choose(state.hashes, extend_hash(state.hashes.gather(1, slot), token)),
        )
        return self._settle(state, after, column, valid)

    def _settle(
        self, before: CtcBeamState, after: CtcBeamState, column: Column, valid: Tensor
    ) -> tuple[CtcBeamState, Column]:
        """Streams without a frame keep what they had; rows apart for too long are given up."""
        valid = valid[:, None]
        own = torch.arange(2 * self.beam, device=valid.device)
        parents = torch.where(valid, column.parents, own)
        column = Column(parents, column.tokens.masked_fill(~valid, NOTHING), column.log_probs)
        changed = ("sums", "scores", "last", "counts", "hashes")
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

    def _grow(self, log_probs: Tensor, state: CtcBeamState) -> _Grown:
        """Every prefix with every token more; a repeated token goes on from a blank alone."""
        last = state.last[:, :, None]
        repeated = log_probs.gather(1, state.last)  # (B, K)

        def grow(blank: Tensor, either: Tensor) -> Tensor:
            longer = either[:, :, None] + log_probs[:, None]  # (B, K, V)
            longer = longer.scatter(2, last, (blank + repeated)[:, :, None])
            longer[:, :, [self.blank_id, self.unk_id]] = EMPTY
            return longer

        blank_sum, token_sum = state.sums.chunk(2, dim=1)
        blank_best, token_best = state.scores.chunk(2, dim=1)
        return _Grown(
            sums=grow(blank_sum, torch.logaddexp(blank_sum, token_sum)),
            best=grow(blank_best, torch.maximum(blank_best, token_best)),
            row=_better_row(state.scores),
        )

    def _keep(self, log_probs: Tensor, state: CtcBeamState, grown: _Grown) -> _Kept:
        """Every prefix as it is, joined by what grows to it from a shorter one in the beam.

        Those arcs are taken out of ``grown``.
        """
        silence = log_probs[:, self.blank_id, None]
        if self.unk_id != self.blank_id:
            silence = torch.logaddexp(silence, log_probs[:, self.unk_id, None])
        repeated = log_probs.gather(1, state.last)
        totals, (_, token_sum) = state.totals, state.sums.chunk(2, dim=1)
        blank_best, token_best = state.scores.chunk(2, dim=1)

        # (B, K, K): whether the prefix of the column is that of the row and its own last token
        longer = extend_hash(state.hashes[:, :, None], state.last[:, None])
        there = totals > EMPTY
        grows = (longer == state.hashes[:, None]) & there[:, :, None] & there[:, None]
        grows &= state.counts[:, :, None] + 1 == state.counts[:, None]
        at_last = state.last[:, None].expand_as(grows)
        joined_sum = grown.sums.gather(2, at_last).masked_fill(~grows, EMPTY).amax(dim=1)
        joined_best = grown.best.gather(2, at_last).masked_fill(~grows, EMPTY).amax(dim=1)
        shorter = grows.byte().argmax(dim=1)  # (B, K), there is one at most
        stream, row, column = grows.nonzero(as_tuple=True)
        grown.sums[stream, row, state.last[stream, column]] = EMPTY

        stayed = token_best + repeated
        comes = joined_best > stayed
        repeats = state.last.gather(1, shorter) == state.last
        source = _source(repeats, shorter, grown.row.gather(1, shorter))
        slots = torch.arange(self.beam, device=comes.device).expand_as(shorter)
        return _Kept(
            blank_sum=totals + silence,
            blank_best=torch.maximum(blank_best, token_best) + silence,
            blank_row=grown.row,
            token_sum=torch.logaddexp(token_sum + repeated, joined_sum),
            token_best=torch.maximum(stayed, joined_best),
            token_row=torch.where(comes, source, slots + self.beam),
            joined=state.last.masked_fill(~comes, NOTHING),
        )


def _source(repeats: Tensor, slot: Tensor, better: Tensor) -> Tensor:
    """The rows that new tokens go on from: that of the blank if the token repeats the last."""
    return torch.where(repeats, slot, better)


def _better_row(scores: Tensor) -> Tensor:
    """(B, 2 K) -> (B, K), the better of the two alignments of each slot."""
    blank, token = scores.chunk(2, dim=1)
    slots = torch.arange(blank.shape[1], device=scores.device)
    return torch.where(token > blank, slots + len(slots), slots)
