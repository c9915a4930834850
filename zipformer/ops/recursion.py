"""Where the arcs of a transducer lattice lie when all of its rows move step by step.

The lattice has T + 1 frames and R = U + 1 rows of nodes. From node (t, r) one arc consumes frame t
and stays in row r, another emits token r and enters row r + 1: within the frame in the regular
type, towards the next frame otherwise. So every arc goes from step n to step n + 1, where a node's
step is t + r in the regular type and t otherwise (see ``zipformer.ops.forward_backward``).

Letters: B batch, U tokens, R = U + 1 rows, T frames, N steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zipformer.ops.forward_backward import NEVER, forward_backward


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
    arcs = py.new_full((2, batch, frames + skew * (rows - 1), rows), NEVER)
    _by_node(arcs[0], 1, px.shape, skew).copy_(token)  # from row r to row r + 1
    _by_node(arcs[1], 0, py.shape, skew).copy_(stay)
    total, occupied = forward_backward(arcs, num_frames + skew * num_tokens, num_tokens)
    px_occupied = _by_node(occupied[0], 1, px.shape, skew)
    py_occupied = _by_node(occupied[1], 0, py.shape, skew)
    return total, px_occupied.contiguous(), py_occupied.contiguous()


def _by_node(plane: Tensor, first: int, shape: torch.Size, skew: int) -> Tensor:
    """The arcs of a plane (B, N, R) by node, a view of ``shape`` (B, T, U or R).

    The arc from node (t, r) is found at step t + skew * r, in row ``first`` + r.
    """
    along_batch, along_steps, along_rows = plane.stride()
    strides = along_batch, along_steps, skew * along_steps + along_rows
    return plane.as_strided(shape, strides, plane.storage_offset() + first * along_rows)


def _inside(
    px: Tensor, py: Tensor, num_tokens: Tensor, num_frames: Tensor
) -> tuple[Tensor, Tensor]:
    """Blank and token arcs, (B, T, R) and (B, T, U); -inf outside each utterance's own sizes."""
    frames, last_row = py.shape[1], px.shape[2]
    if py.device.type == "cpu" and bool(((num_tokens == last_row) & (num_frames == frames)).all()):
        return py, px
    frame = torch.arange(frames, device=py.device)[:, None]
    row = torch.arange(last_row + 1, device=py.device)
    late, last = frame >= num_frames[:, None, None], num_tokens[:, None, None]
    beyond = late | (row > last)
    no_token = late | (row[:-1] >= last)
    return py.masked_fill(beyond, NEVER), px.masked_fill(no_token, NEVER)
