"""The sum over all alignments of a transducer lattice, and how likely each of its arcs is.

The lattice has U + 1 rows of tokens and T + 1 columns of frames. An arc ``px[u, t]`` emits token u
at frame t, an arc ``py[u, t]`` consumes frame t after u tokens. In the regular type a token does
not consume a frame; in the modified and constrained types it does.

Letters: B batch, U tokens, T frames, R = U + 1 rows, N steps of the recursion.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def lattice_log_prob(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of all alignments together (arXiv 2206.13236, section 2).

    Differentiable in ``px`` and ``py``; the gradient comes from one forward-backward recursion, not
    from a graph through it.

    Args:
        px: (B, U, T + 1) in the regular type, (B, U, T) otherwise: log-probabilities of tokens.
        py: (B, U + 1, T): log-probabilities of blanks.
        boundary: (B, 4) int64 rows (0, 0, U, T) of each utterance's own sizes; what ``px`` and
            ``py`` hold beyond them is not looked at.

    Returns:
        (B,) log-probabilities, and the probabilities that an alignment passes each arc, shaped
        like ``px`` and ``py`` (without gradient). An utterance without any alignment has -inf,
        and zeros.

    Raises:
        ValueError: If the shapes do not form a lattice.
    """
    batch, rows, frames = py.shape
    if px.shape not in ((batch, rows - 1, frames + 1), (batch, rows - 1, frames)):
        raise ValueError(
            f"px must be (B, U, T + 1) or (B, U, T) and py (B, U + 1, T), got {tuple(px.shape)} "
            f"and {tuple(py.shape)}"
        )
    return _LatticeSum.apply(px, py, boundary)


class _LatticeSum(torch.autograd.Function):
    """The derivative of the total by an arc's log-probability is the arc's occupation."""

    @staticmethod
    def forward(
        ctx: Any, px: Tensor, py: Tensor, boundary: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        # An occupation is a small difference of large sums: in float32 a long utterance would
        # lose three digits of it. Only Apple's GPUs have no float64.
        wide = torch.float32 if px.device.type == "mps" else torch.float64
        results = _forward_backward(px.to(wide), py.to(wide), boundary)
        total, px_occupied, py_occupied = (x.to(px.dtype) for x in results)
        ctx.save_for_backward(px_occupied, py_occupied)
        ctx.mark_non_differentiable(px_occupied, py_occupied)
        return total, px_occupied, py_occupied

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None]:
        px_occupied, py_occupied = ctx.saved_tensors
        grad = grad[:, None, None]
        return grad * px_occupied, grad * py_occupied, None


def _forward_backward(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Steps through the lattice so that all rows of all utterances move at once.

    Regular arcs stay in a column (px) or in a row (py), so step n takes the arcs with u + t = n;
    otherwise all arcs go to the next frame, and step n takes those of frame n. Either way

        alpha_n[r] = logaddexp(alpha_{n-1}[r - 1] + enter_n[r], alpha_{n-1}[r] + stay_n[r])

    The backward scores obey the same law in the lattice read from its end, so both directions run
    in one loop, side by side in the batch.
    """
    batch, rows, frames = py.shape
    px_frames = px.shape[2]
    regular = px_frames == frames + 1
    num_tokens, num_frames = boundary[:, 2], boundary[:, 3]
    num_steps = num_frames + num_tokens if regular else num_frames
    px, py = _inside(px, py, num_tokens, num_frames)
    if regular:
        px, py = _skew(px, rows - 1 + frames), _skew(py, rows - 1 + frames)
    arcs = py.new_empty(py.shape[2], 2, 2 * batch, rows)  # (N, 2, 2B, R)
    enter, stay = arcs[:, :, :batch].unbind(1)
    enter[:, :, :1] = -torch.inf
    enter[:, :, 1:] = px.permute(2, 0, 1)
    stay[:] = py.permute(2, 0, 1)
    # Read from the end, the arc that entered row r leaves it: it enters row U + 1 - r.
    arcs[:, 0, batch:] = _reverse(enter, num_tokens + 1, num_steps - 1)
    arcs[:, 1, batch:] = _reverse(stay, num_tokens, num_steps - 1)

    scores = _scan(arcs)  # (N + 1, 2B, R + 1)
    alpha = scores[:, :batch]
    beta = _reverse(scores[:, batch:, 1:], num_tokens, num_steps)
    total = beta[0, :, 0].clone()

    beta -= total.masked_fill(total == -torch.inf, 0.0)[:, None]
    occupied = arcs[:, :, :batch] + _from_row_before_and_own(alpha[:-1])
    occupied += beta[1:].unsqueeze(1)
    occupied = occupied.exp_().permute(1, 2, 3, 0)  # (2, B, R, N)
    px, py = occupied[0, :, 1:], occupied[1]
    if regular:
        px, py = _unskew(px), _unskew(py)
    return total, px[..., :px_frames], py[..., :frames]


def _scan(arcs: Tensor) -> Tensor:
    """Scores of reaching each row from row 0 in n steps, (N, 2, B, R) -> (N + 1, B, R + 1).

    A row in front of the others, which nothing ever reaches, saves the first row from being a
    special case.
    """
    steps, _, batch, rows = arcs.shape
    scores = arcs.new_empty(steps + 1, batch, rows + 1)
    scores[0] = scores[:, :, 0] = -torch.inf
    scores[0, :, 1] = 0.0
    sources = _from_row_before_and_own(scores).unbind()
    targets = scores[..., 1:].unbind()
    reached = arcs.new_empty(arcs.shape[1:])
    for n, arc in enumerate(arcs.unbind()):
        torch.add(sources[n], arc, out=reached)
        torch.logaddexp(reached[0], reached[1], out=targets[n + 1])
    return scores


def _from_row_before_and_own(scores: Tensor) -> Tensor:
    """A view of (N, B, R + 1) as (N, 2, B, R): where entering arcs start, and staying ones."""
    return scores.unfold(2, scores.shape[2] - 1, 1).transpose(1, 2)


def _inside(
    px: Tensor, py: Tensor, num_tokens: Tensor, num_frames: Tensor
) -> tuple[Tensor, Tensor]:
    """Arcs within each utterance's own sizes; the others become -inf."""
    row = torch.arange(py.shape[1], device=py.device)[:, None]
    frame = torch.arange(px.shape[2], device=px.device)
    in_time = frame < num_frames[:, None, None]  # (B, 1, T) or (B, 1, T + 1)
    last_row = num_tokens[:, None, None]
    px = px.masked_fill(~((row[:-1] < last_row) & in_time), -torch.inf)
    py = py.masked_fill(~((row <= last_row) & in_time[..., : py.shape[2]]), -torch.inf)
    return px, py


def _skew(x: Tensor, steps: int) -> Tensor:
    """Moves row r by r to the right, (B, R, F) -> (B, R, N), so that diagonals become columns.

    Rows padded to N + 1 and read again as rows of N are each one further to the right.
    """
    batch, rows, frames = x.shape
    x = F.pad(x, (0, steps + 1 - frames), value=-torch.inf)
    return x.flatten(1)[:, : rows * steps].view(batch, rows, steps)


def _unskew(x: Tensor) -> Tensor:
    """Undoes ``_skew``, (B, R, N) -> (B, R, N + 1), with padding behind the frames."""
    batch, rows, steps = x.shape
    return F.pad(x.flatten(1), (0, rows)).view(batch, rows, steps + 1)


def _reverse(x: Tensor, last_row: Tensor, last_step: Tensor) -> Tensor:
    """Turns (N, B, R) around, so that an utterance's last step and row become 0, 0.

    What lies beyond the last ones wraps around to the end. It is -inf, like what was there.
    """
    steps, batch, rows = x.shape
    step = last_step - torch.arange(steps, device=x.device)[:, None]  # (N, B)
    row = last_row[:, None] - torch.arange(rows, device=x.device)  # (B, R)
    utterance = torch.arange(batch, device=x.device)[:, None]
    return x[(step % max(steps, 1)).unsqueeze(2), utterance, row % rows]
