"""Prefixes of transcripts in the beam of a CTC head: what they are after a frame, and with a token.

Of each prefix there are the sums over all its alignments and the best of them, for those that end
in a blank and those that end in its last token: a stream has 2 K rows, first the ones, then the
others.

Letters: B batch, K slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zipformer.search.beam_history import EMPTY, BeamHistory, extend_hash
from zipformer.search.history import NOTHING


@dataclass
class CtcBeamState(BeamHistory):
    """What streams carry from one step to the next: K prefixes each, the first slot never empty.

    Args:
        processed, emitted, frames, log_probs, apart, nodes, earned: As in
            ``BeamHistory``, 2 K rows in K slots.
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
class Kept:
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
class Grown:
    """Prefixes with a token more, (B, K, V) each but ``row``.

    ``row`` (B, K) is where the best alignment comes from if the token is another than the last.
    """

    sums: Tensor
    best: Tensor
    row: Tensor


def grow(log_probs: Tensor, state: CtcBeamState, silent: Sequence[int]) -> Grown:
    """Every prefix with every token more; a repeated token goes on from a blank alone.

    Args:
        log_probs: (B, V), what the head says of a frame.
        state: Before it.
        silent: Tokens that are never emitted: the blank, and what counts as one.
    """
    last = state.last[:, :, None]
    repeated = log_probs.gather(1, state.last)  # (B, K)

    def longer(blank: Tensor, either: Tensor) -> Tensor:
        scores = either[:, :, None] + log_probs[:, None]  # (B, K, V)
        scores = scores.scatter(2, last, (blank + repeated)[:, :, None])
        scores[:, :, list(silent)] = EMPTY
        return scores

    blank_sum, token_sum = state.sums.chunk(2, dim=1)
    blank_best, token_best = state.scores.chunk(2, dim=1)
    return Grown(
        sums=longer(blank_sum, torch.logaddexp(blank_sum, token_sum)),
        best=longer(blank_best, torch.maximum(blank_best, token_best)),
        row=better_row(state.scores),
    )


def keep(log_probs: Tensor, state: CtcBeamState, grown: Grown, silent: Sequence[int]) -> Kept:
    """Every prefix as it is, joined by what grows to it from a shorter one in the beam.

    Those arcs are taken out of ``grown``. Arguments as of ``grow``.
    """
    silence = log_probs[:, silent[0], None]
    for other in silent[1:]:
        silence = torch.logaddexp(silence, log_probs[:, other, None])
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
    row_of_shorter = source(repeats, shorter, grown.row.gather(1, shorter))
    slots = torch.arange(shorter.shape[1], device=comes.device).expand_as(shorter)
    return Kept(
        blank_sum=totals + silence,
        blank_best=torch.maximum(blank_best, token_best) + silence,
        blank_row=grown.row,
        token_sum=torch.logaddexp(token_sum + repeated, joined_sum),
        token_best=torch.maximum(stayed, joined_best),
        token_row=torch.where(comes, row_of_shorter, slots + slots.shape[1]),
        joined=state.last.masked_fill(~comes, NOTHING),
    )


def source(repeats: Tensor, slot: Tensor, better: Tensor) -> Tensor:
    """The rows that new tokens go on from: that of the blank if the token repeats the last."""
    return torch.where(repeats, slot, better)


def better_row(scores: Tensor) -> Tensor:
    """(B, 2 K) -> (B, K), the better of the two alignments of each slot."""
    blank, token = scores.chunk(2, dim=1)
    slots = torch.arange(blank.shape[1], device=scores.device)
    return torch.where(token > blank, slots + len(slots), slots)
