"""The sum over all alignments of a transducer lattice, and how likely each of its arcs is.

The lattice has U + 1 rows of tokens and T + 1 columns of frames. An arc ``px[u, t]`` emits token u
at frame t, an arc ``py[u, t]`` consumes frame t after u tokens. In the regular type a token does
not consume a frame; in the modified and constrained types it does.

Letters: B batch, U tokens, T frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from zipformer import ops
from zipformer.losses.checks import RnntType
from zipformer.ops.autograd import FunctionCtx


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
    regular = px.shape[2] == frames + 1
    total, px_occupied, py_occupied = lattice_sum(
        px[..., :frames].mT, py.mT, boundary, "regular" if regular else "modified"
    )
    return total, tokens_first(px_occupied, "regular" if regular else "modified"), py_occupied.mT


def lattice_sum(
    px: Tensor, py: Tensor, boundary: Tensor, rnnt_type: RnntType
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with frames before tokens.

    Args:
        px: (B, T, U).
        py: (B, T, U + 1).
        boundary: (B, 4).
        rnnt_type: In the constrained type every token is followed by a blank in its frame.

    Returns:
        (B,), and probabilities shaped like ``px`` and ``py``.
    """
    if rnnt_type == "constrained":
        px = px + py[..., 1:]
    total, px_occupied, py_occupied = _LatticeSum.apply(px, py, boundary, rnnt_type == "regular")
    return total, px_occupied, py_occupied


def band_sum(
    token: Tensor, blank: Tensor, ranges: Tensor, boundary: Tensor, rnnt_type: RnntType, rows: int
) -> Tensor:
    """The same over the alignments that stay inside a band.

    Args:
        token: (B, T, S), log-probabilities of the next token in each kept cell.
        blank: (B, T, S).
        ranges: (B, T, S) rows kept, from ``prune_ranges``.
        boundary: (B, 4).
        rnnt_type: As in ``lattice_sum``.
        rows: U + 1.

    Returns:
        (B,).

    Raises:
        ValueError: If the band moves faster than alignments can follow.
    """
    if rnnt_type == "constrained":
        token = token + F.pad(blank[..., 1:], (0, 1), value=-torch.inf)
    regular = rnnt_type == "regular"
    if ranges.device.type == "cpu":  # elsewhere a look at them would have to wait for the device
        steps, most = ranges[:, 1:, :1] - ranges[:, :-1, :1], ranges.shape[2] - 1 if regular else 1
        if ((steps < 0) | (steps > most)).any():
            raise ValueError(
                f"ranges must move by 0..{most} rows a frame, got {int(steps.min())}.."
                f"{int(steps.max())}: take them from prune_ranges, with px_grad of the same type"
            )
    total: Tensor = _BandSum.apply(token, blank, ranges[..., 0], boundary, regular, rows)
    return total


def tokens_first(px_occupied: Tensor, rnnt_type: RnntType) -> Tensor:
    """(B, T, U) -> (B, U, T), or (B, U, T + 1) in the regular type, where no token comes last."""
    return F.pad(px_occupied.mT, (0, 1)) if rnnt_type == "regular" else px_occupied.mT


class _LatticeSum(torch.autograd.Function):
    """The derivative of the total by an arc's log-probability is the arc's occupation."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, px: Tensor, py: Tensor, boundary: Tensor, regular: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        total, px_occupied, py_occupied = ops.lattice(px, py, boundary, regular)
        ctx.save_for_backward(px_occupied, py_occupied)
        ctx.mark_non_differentiable(px_occupied, py_occupied)
        return total, px_occupied, py_occupied

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        px_occupied, py_occupied = ctx.saved_tensors
        grad = grad[:, None, None]
        return grad * px_occupied, grad * py_occupied, None, None


class _BandSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        token: Tensor,
        blank: Tensor,
        begin: Tensor,
        boundary: Tensor,
        regular: bool,
        rows: int,
    ) -> Tensor:
        total, *occupied = ops.band_lattice(token, blank, begin, boundary, regular, rows)
        ctx.save_for_backward(*occupied)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        token_occupied, blank_occupied = ctx.saved_tensors
        grad = grad[:, None, None]
        return grad * token_occupied, grad * blank_occupied, None, None, None, None
