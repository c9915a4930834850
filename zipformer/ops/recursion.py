"""Forward-backward over a transducer lattice, for all utterances of a batch at once.

The lattice has T + 1 frames and R = U + 1 rows of nodes. From node (t, r) one arc consumes frame t
and stays in row r, another emits token r and enters row r + 1: within the frame in the regular
type, towards the next frame otherwise. So every arc goes from step n to step n + 1, where a node's
step is t + r in the regular type and t otherwise, and

    alpha[n + 1, r] = logaddexp(alpha[n, r] + stay[n, r], alpha[n, r - 1] + enter[n, r])

moves all rows of all utterances at once. Read from its end, the lattice obeys the same law:
both directions run in one loop, side by side in the batch.

Letters: B batch, U tokens, R = U + 1 rows, T frames, N steps.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NEVER = -torch.inf
FEW = 200  # numbers in a step for which numpy's calls are cheaper than torch's


def lattice(
    px: Tensor, py: Tensor, boundary: Tensor, regular: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of all alignments together, and how likely each arc is.

    Args:
        px: (B, T, U), log-probabilities of tokens.
        py: (B, T, U + 1), log-probabilities of blanks.
        boundary: (B, 4) int64 rows (0, 0, U, T) of each utterance's own sizes; arcs beyond them
            may hold anything.
        regular: Whether tokens stay in their frame.

    Returns:
        (B,) log-probabilities, and probabilities that an alignment passes an arc, shaped like
        ``px`` and ``py``; -inf and zeros where there is no alignment.
    """
    batch, frames, rows = py.shape
    num_tokens, num_frames = boundary[:, 2], boundary[:, 3]
    skew = int(regular)
    stay, token = _inside(px, py, num_tokens, num_frames)
    arcs = _arcs(stay, token, skew)  # (2, 2 B, N, R)
    last_row = torch.cat([num_tokens, rows - 1 - num_tokens])
    wait_at_end(arcs, num_frames + skew * num_tokens, last_row)
    scores = scan(arcs, last_row[batch:])  # (2 B, N + 1, R + 1)

    total = scores[torch.arange(batch, device=px.device), -1, num_tokens + 1]
    alpha = _nodes(scores[:batch], frames, skew)  # (B, T, R)
    beta = _nodes(scores[batch:], frames + 1, skew).flip(1, 2)  # (B, T + 1, R)
    beta = beta - total.masked_fill(total == NEVER, 0.0)[:, None, None]
    behind_token = beta[:, :frames] if regular else beta[:, 1:]
    passing = torch.add(alpha, stay).add_(beta[:, 1:])
    emitting = torch.add(alpha[..., :-1], token[..., :-1]).add_(behind_token[..., 1:])
    return total.to(py.dtype), probability(emitting, px.dtype), probability(passing, py.dtype)


def _inside(
    px: Tensor, py: Tensor, num_tokens: Tensor, num_frames: Tensor
) -> tuple[Tensor, Tensor]:
    """Blank and token arcs, (B, T, R) both; -inf outside each utterance's own sizes."""
    frames, last_row = py.shape[1], px.shape[2]
    px = F.pad(px, (0, 1), value=NEVER)
    if py.device.type == "cpu" and bool(((num_tokens == last_row) & (num_frames == frames)).all()):
        return py, px
    frame = torch.arange(frames, device=py.device)[:, None]
    row = torch.arange(last_row + 1, device=py.device)
    late, last = frame >= num_frames[:, None, None], num_tokens[:, None, None]
    return py.masked_fill(late | (row > last), NEVER), px.masked_fill(late | (row >= last), NEVER)


def _arcs(stay: Tensor, token: Tensor, skew: int) -> Tensor:
    """Arcs by step and by the row that they come to, entering ones before staying ones.

    (B, T, R) twice -> (2, 2 B, N, R); the utterances as they are, then read from their ends.
    """
    batch, frames, rows = stay.shape
    steps = frames + skew * (rows - 1)
    arcs = stay.new_empty(2, 2 * batch, steps, rows, dtype=wide(stay))
    arcs[:, :, : skew * rows] = NEVER  # steps at which not every row has a node
    arcs[:, :, frames:] = NEVER
    arcs[0, :batch, :, 0] = NEVER
    (enter, enter_reversed), (leave, leave_reversed) = arcs.view(2, 2, batch, steps, rows)

    def nodes(plane: Tensor, columns: int, first: int) -> Tensor:
        """(B, T, columns) of a plane (B, N, R): node (t, r) stands in column first + r."""
        strides = plane.stride(0), rows, skew * rows + 1
        return plane.as_strided((batch, frames, columns), strides, plane.storage_offset() + first)

    nodes(leave, rows, 0).copy_(stay)
    nodes(leave_reversed, rows, 0).copy_(stay.flip(1, 2))
    nodes(enter, rows - 1, 1).copy_(token[..., :-1])  # an arc from row r enters row r + 1
    nodes(enter_reversed, rows, 0).copy_(token.flip(1, 2))  # and, from the end, row R - 1 - r
    return arcs


def wait_at_end(arcs: Tensor, num_steps: Tensor, last_row: Tensor) -> None:
    """Lets shorter utterances wait in their last row, at no cost, until the batch has ended.

    Args:
        arcs: (2, 2 B, N, R); those that wait are overwritten.
        num_steps: (B,) of each utterance.
        last_row: (2 B,) columns to wait in; read from the end, an utterance waits first.
    """
    _, both, steps, _ = arcs.shape
    step = torch.arange(steps, device=arcs.device)
    waits = torch.cat([step >= num_steps[:, None], step < steps - num_steps[:, None]])
    index = torch.arange(both, device=arcs.device), slice(None), last_row
    arcs[1][index] = arcs[1][index].masked_fill(waits, 0.0)


def scan(arcs: Tensor, first_reversed: Tensor, ring: bool = False) -> Tensor:
    """Scores of reaching each row in n steps.

    Args:
        arcs: (2, 2 B, N, R), entering and staying ones; the second half of the utterances read
            from their ends.
        first_reversed: (B,) columns where these begin; the others begin in column 0.
        ring: Whether what leaves the last column enters column 0.

    Returns:
        (2 B, N + 1, R + 1), behind a column that nothing reaches (in a ring, a copy of the last).
    """
    _, both, steps, rows = arcs.shape
    batch = both // 2
    scores = arcs.new_empty(both, steps + 1, rows + 1)
    scores[:, 0] = scores[:, :, 0] = NEVER
    scores[:batch, 0, 1] = 0.0
    scores[torch.arange(batch, both, device=arcs.device), 0, first_reversed + 1] = 0.0
    if ring:
        scores[:, 0, 0] = scores[:, 0, -1]
    if arcs.device.type == "cpu" and both * rows < FEW:
        _scan_few(arcs.numpy(), scores.numpy(), ring)
        return scores
    # Views of (2, 2 B, R) for each step: the row before, and the row itself.
    sources = scores.unfold(2, rows, 1).permute(1, 2, 0, 3).unbind()
    targets = scores[:, 1:, 1:].unbind(1)
    reached = arcs.new_empty(2, both, rows)
    entering, staying = reached.unbind()
    for n, arc in enumerate(arcs.unbind(2)):
        torch.add(sources[n], arc, out=reached)
        torch.logaddexp(entering, staying, out=targets[n])
        if ring:
            scores[:, n + 1, 0] = scores[:, n + 1, -1]
    return scores


def _scan_few(arcs: np.ndarray, scores: np.ndarray, ring: bool) -> None:
    """The loop of ``scan`` where a step has so few numbers that calling torch takes longest."""
    enter, stay = arcs.swapaxes(1, 2)  # (N, 2 B, R) each
    sources, targets = scores[:, :-1].swapaxes(0, 1), scores[:, 1:].swapaxes(0, 1)
    entering, staying = np.empty((2, *enter.shape[1:]), arcs.dtype)
    with np.errstate(invalid="ignore"):  # NaN in, NaN out: training looks at the loss
        for source, enter_arc, stay_arc, target in zip(sources, enter, stay, targets, strict=True):
            np.add(source[:, :-1], enter_arc, out=entering)
            np.add(source[:, 1:], stay_arc, out=staying)
            np.logaddexp(entering, staying, out=target[:, 1:])
            if ring:
                target[:, 0] = target[:, -1]


def _nodes(scores: Tensor, frames: int, skew: int) -> Tensor:
    """(B, N + 1, R + 1) by step -> (B, T, R), a view by node."""
    batch, _, columns = scores.shape
    strides = scores.stride(0), columns, skew * columns + 1
    return scores.as_strided((batch, frames, columns - 1), strides, scores.storage_offset() + 1)


def wide(x: Tensor) -> torch.dtype:
    """The type to add up in.

    An occupation is a small difference of large sums: in float32 a long utterance would lose three
    digits of it. Only Apple's GPUs have no float64.
    """
    return torch.float32 if x.device.type == "mps" else torch.float64


def probability(log_prob: Tensor, dtype: torch.dtype) -> Tensor:
    """exp, with zero for what float32 could only hold as a denormal number: those are slow."""
    return F.threshold(log_prob, -87.0, NEVER).to(dtype).exp_()
