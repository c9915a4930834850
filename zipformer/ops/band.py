"""Forward-backward over the band that pruning leaves of a transducer lattice.

At any step (see ``zipformer.ops.recursion``) an alignment can be in S neighbouring rows at most. So
S + 1 columns are enough, row r in column r modulo S + 1: before the band comes to a row whose
column has been used, the old row has lost its arcs, and with them its score.

Letters: B batch, U tokens, R = U + 1 rows, T frames, S rows kept in a frame, N steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zipformer.ops.forward_backward import NEVER, forward_backward


def band_lattice(
    token: Tensor, blank: Tensor, begin: Tensor, boundary: Tensor, regular: bool, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of all alignments inside the band, and how likely each arc is.

    Args:
        token: (B, T, S), log-probabilities of emitting the next token.
        blank: (B, T, S), of consuming the frame.
        begin: (B, T) the first row kept in each frame, as ``prune_ranges`` makes them: never
            decreasing, by less than S from frame to frame (by at most one if not regular).
        boundary: (B, 4) int64 rows (0, 0, U, T); arcs beyond them may hold anything.
        regular: Whether tokens stay in their frame.
        rows: R, of the batch.

    Returns:
        (B,) log-probabilities, and probabilities (B, T, S) twice; -inf and zeros where there is no
        alignment.
    """
    batch, frames, kept = token.shape
    skew, columns = int(regular), kept + 1
    steps = frames + skew * (rows - 1)
    num_tokens, num_frames = boundary[:, 2:3], boundary[:, 3:]
    frame = torch.arange(frames, device=token.device).repeat_interleave(kept)  # (T S,)
    row = (begin.unsqueeze(2) + torch.arange(kept, device=token.device)).flatten(1)  # (B, T S)
    ends_inside = _ends_inside(begin, num_tokens, num_frames, kept - skew)
    late = (frame >= num_frames) | ~ends_inside
    token = token.flatten(1).masked_fill(late | (row >= num_tokens), NEVER)
    blank = blank.flatten(1).masked_fill(late | (row > num_tokens), NEVER)

    # Where an arc is: by its step, and by the column of the row that it comes to.
    step = (frame + skew * row) * columns
    here, there = step + row % columns, step + (row + 1) % columns
    arcs = token.new_full((2, batch, steps * columns), NEVER)
    arcs[0].scatter_(1, there, token)
    arcs[1].scatter_(1, here, blank)
    arcs = arcs.view(2, batch, steps, columns)
    last = (num_tokens % columns).squeeze(1)
    num_steps = (num_frames + skew * num_tokens).squeeze(1)
    total, occupied = forward_backward(arcs, num_steps, last, ring=True)

    total = total.masked_fill(~ends_inside.squeeze(1), NEVER)
    token_occupied, blank_occupied = (
        plane.view(batch, steps * columns).gather(1, index).view(batch, frames, kept)
        for plane, index in zip(occupied, (there, here), strict=True)
    )
    return total, token_occupied, blank_occupied


def _ends_inside(begin: Tensor, num_tokens: Tensor, num_frames: Tensor, reach: int) -> Tensor:
    """Whether the last row can be reached from the last frame's band, (B, 1) bool.

    If not, another row may stand in its column.
    """
    if begin.shape[1] == 0:
        return num_tokens == 0
    first = begin.gather(1, (num_frames - 1).clamp(min=0))
    inside = (first <= num_tokens) & (num_tokens <= first + reach)
    return torch.where(num_frames > 0, inside, num_tokens == 0)
