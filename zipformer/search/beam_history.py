"""The history of a beam: several rows of tokens a stream, each the continuation of another.

What a frame did to the rows goes into tensors (the row that each came from, and its token); the way
back through the frames of a step is gone once at its end. No Python loop over utterances or rows
while frames go by.

Letters: B batch, R rows, K slots of one row or several, N tokens held of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from zipformer.search.history import NOTHING, History, to_hypotheses
from zipformer.search.protocol import Hypothesis

EMPTY = -torch.inf  # score of a row that holds nothing
HASH_FACTOR = 6364136223846793005  # odd, so that no two hashes become one; from Knuth's MMIX


@dataclass
class BeamHistory(History):
    """R rows of tokens in each stream.

    Args:
        processed: (B,) int64, valid output frames so far.
        emitted: (B, R, N) int64, the tokens of each row that are not taken yet, -1 after them.
        frames: (B, R, N) int64, the output frame of each.
        log_probs: (B, R, N) float32, the log-probability of each.
        scores: (B, R) float64, log-probability of each row, taken tokens included; float32 would
            lose the differences between rows in long streams.
        apart: (B, R, R) int64, for how many frames two rows have differed.
        nodes: (B, K) int64, where each slot stands in the phrases that are preferred.
        earned: (B, K) float64, what it has earned by those that it has finished.
    """

    scores: Tensor
    apart: Tensor
    nodes: Tensor
    earned: Tensor


class Column(NamedTuple):
    """What one frame did to the rows: three times (B, R).

    Args:
        parents: The row that each goes on from.
        tokens: What it emitted, -1 for nothing.
        log_probs: The log-probability of that.
    """

    parents: Tensor
    tokens: Tensor
    log_probs: Tensor


AnyBeam = TypeVar("AnyBeam", bound=BeamHistory)


def empty_history(
    batch_size: int, num_rows: int, num_slots: int, root: int, device: torch.device
) -> dict[str, Tensor]:
    """The fields of a ``BeamHistory`` before the first frame: only the first row is not empty."""
    none = torch.zeros(batch_size, num_rows, 0, dtype=torch.int64, device=device)
    scores = torch.full((batch_size, num_rows), EMPTY, dtype=torch.float64, device=device)
    scores[:, :1] = 0.0
    return {
        "processed": none.new_zeros(batch_size),
        "emitted": none,
        "frames": none,
        "log_probs": none.float(),
        "scores": scores,
        "apart": none.new_zeros(batch_size, num_rows, num_rows),
        "nodes": none.new_full((batch_size, num_slots), root),
        "earned": scores.new_zeros(batch_size, num_slots),
    }


def extend_hash(hashes: Tensor, tokens: Tensor) -> Tensor:
    """Hashes of histories with a token more: a permutation of the 64-bit integers per token."""
    hashes = hashes * HASH_FACTOR + tokens + 1  # overflows wrap around
    return hashes ^ ((hashes >> 32) & 0xFFFFFFFF)


def still_apart(apart: Tensor, parents: Tensor) -> Tensor:
    """(B, R, R) of the rows that rows came from -> of the rows themselves; 0 if it is one."""
    rows = parents.shape[1]
    pairs = parents[:, :, None] * rows + parents[:, None]  # (B, R, R)
    differ = parents[:, :, None] != parents[:, None]
    return apart.flatten(1).gather(1, pairs.flatten(1)).view_as(pairs) * differ


def of_parents(values: Tensor, parents: Tensor) -> Tensor:
    """(B, R, n) in the order of the (B, R) rows that rows came from."""
    return values.gather(1, parents[:, :, None].expand(-1, -1, values.shape[2]))


def with_history(state: AnyBeam, columns: Sequence[Column], processed: Tensor) -> AnyBeam:
    """Goes back through the frames of a step and appends what led to each row to its tokens."""
    row = torch.arange(state.scores.shape[1], device=processed.device).expand_as(state.scores)
    emitted: list[Tensor] = []
    log_probs: list[Tensor] = []
    for column in reversed(columns):
        emitted.append(column.tokens.gather(1, row)[:, :, None])
        log_probs.append(column.log_probs.gather(1, row)[:, :, None])
        row = column.parents.gather(1, row)
    index = torch.arange(len(columns), device=processed.device)
    frames = (state.processed[:, None, None] + index).expand(-1, row.shape[1], -1)
    longer = replace(
        state,
        processed=processed,
        emitted=torch.cat([of_parents(state.emitted, row), *reversed(emitted)], dim=2),
        frames=torch.cat([of_parents(state.frames, row), frames], dim=2),
        log_probs=torch.cat([of_parents(state.log_probs, row), *reversed(log_probs)], dim=2),
    )
    return _compact(longer)


def take_common(state: AnyBeam, first: Tensor) -> tuple[list[Hypothesis], AnyBeam]:
    """Takes out of a state what all rows of a stream begin with, at the same frames.

    No later frame can change that, as every later row goes on from one of these. What they differ
    in stays until they agree, and with it all that follows.

    Args:
        state: To take from; it is not changed.
        first: (B,) a row of each stream that is not empty.

    Returns:
        What has become final in each stream, and the state that goes on.
    """
    stream = torch.arange(len(first), device=first.device)
    empty = (state.scores == EMPTY)[:, :, None]
    emitted, times = state.emitted, state.frames
    one, when = emitted[stream, first][:, None], times[stream, first][:, None]
    common = (emitted == one) & (times == when) & (emitted != NOTHING)
    final = (common | empty).all(dim=1).cumprod(dim=1) * (one[:, 0] != NOTHING)  # (B, N)
    taken = replace(state, emitted=emitted.masked_fill(final[:, None] == 0, NOTHING))
    rest = replace(state, emitted=emitted.masked_fill(final[:, None] == 1, NOTHING))
    return hypotheses_in(taken, first), _compact(rest)


def hypotheses_in(state: BeamHistory, rows: Tensor) -> list[Hypothesis]:
    """The hypotheses in one row (B,) of each stream."""
    stream = torch.arange(len(rows), device=rows.device)
    history = (state.emitted, state.frames, state.log_probs)
    return to_hypotheses(*(values[stream, rows] for values in history))


def _compact(state: AnyBeam) -> AnyBeam:
    """Removes the columns that hold no token, for each row by itself, and those of empty rows."""
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
