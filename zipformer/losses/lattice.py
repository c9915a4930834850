"""The sum over all alignments of a transducer lattice, and how likely each of its arcs is.

The lattice has U + 1 rows of tokens and T + 1 columns of frames. An arc ``px[u, t]`` emits token u
at frame t, an arc ``py[u, t]`` consumes frame t after u tokens. In the regular type a token does
not consume a frame; in the modified and constrained types it does.

Letters: B batch, U tokens, T frames, N steps of the recursion.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

RnntType = Literal["regular", "modified", "constrained"]
Reduction = Literal["none", "sum", "mean"]
TYPES = ("regular", "modified", "constrained")


def lattice_log_prob(px: Tensor, py: Tensor, boundary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of all alignments together.

    Differentiable in ``px`` and ``py``; the gradient comes from one forward-backward recursion, not
    from a graph through it.

    Args:
        px: (B, U, T + 1) in the regular type, (B, U, T) otherwise: log-probabilities of tokens.
        py: (B, U + 1, T): log-probabilities of blanks.
        boundary: (B, 4) int64 rows (0, 0, U, T) of each utterance's own sizes.

    Returns:
        (B,) log-probabilities, and the probabilities that an alignment passes each arc, shaped
        like ``px`` and ``py`` (without gradient). An utterance without any alignment has -inf,
        and zeros.
    """
    return _LatticeSum.apply(px, py, boundary)


class _LatticeSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, px: Tensor, py: Tensor, boundary: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Probabilities are differences of large sums; the lattice is small, so double costs little.
        total, px_occupied, py_occupied = (
            x.to(px.dtype) for x in _forward_backward(px.double(), py.double(), boundary)
        )
        ctx.save_for_backward(px_occupied, py_occupied)
        ctx.mark_non_differentiable(px_occupied, py_occupied)
        return total, px_occupied, py_occupied

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None]:
        px_occupied, py_occupied = ctx.saved_tensors
        grad = grad[:, None, None]
        # 0 * inf: an impossible utterance has an infinite loss, and pulls at nothing.
        return grad * px_occupied, grad * py_occupied, None


def _forward_backward(
    px: Tensor, py: Tensor, boundary: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Steps through the lattice so that all rows of all utterances move at once.

    Regular arcs stay in a column (px) or in a row (py), so step n holds the cells with u + t = n;
    otherwise both arcs go to the next frame, and step n is column n. Either way

        alpha_n[u] = logaddexp(alpha_{n-1}[u - 1] + enter_n[u], alpha_{n-1}[u] + stay_n[u])
    """
    regular = px.shape[2] == py.shape[2] + 1
    num_tokens, num_frames = boundary[:, 2], boundary[:, 3]
    enter, stay, (px_index, py_index) = _by_step(px, py, num_tokens, num_frames, regular)
    steps, batch, rows = enter.shape  # N, B, U + 1

    # An extra row in front (behind, in beta) that nothing comes from saves all special cases.
    alpha = enter.new_full((steps + 1, batch, rows + 1), -torch.inf)
    alpha[0, :, 1] = 0.0
    for n in range(steps):
        entered = alpha[n, :, :-1] + enter[n]
        torch.logaddexp(alpha[n, :, 1:] + stay[n], entered, out=alpha[n + 1, :, 1:])

    last = num_frames + num_tokens if regular else num_frames  # step of each utterance's end
    rows_of = torch.arange(batch, device=px.device)
    total = alpha[last, rows_of, num_tokens + 1]

    beta = enter.new_full((steps + 1, batch, rows + 1), -torch.inf)
    beta[last, rows_of, num_tokens] = 0.0
    for n in range(steps - 1, -1, -1):
        entered = beta[n + 1, :, 1:-1] + enter[n, :, 1:]
        here = beta[n + 1, :, :-1] + stay[n]
        here[:, :-1] = torch.logaddexp(here[:, :-1], entered)
        # Cells in which an utterance ends keep their zero: nothing leaves them.
        torch.maximum(here, beta[n, :, :-1], out=beta[n, :, :-1])

    safe = torch.where(total.isfinite(), total, torch.zeros_like(total))[:, None]
    entered = (alpha[:-1, :, :-1] + enter + beta[1:, :, :-1] - safe).exp()
    stayed = (alpha[:-1, :, 1:] + stay + beta[1:, :, :-1] - safe).exp()
    px_occupied = entered.permute(1, 2, 0)[:, 1:].gather(2, px_index)
    py_occupied = stayed.permute(1, 2, 0).gather(2, py_index)
    px_valid, py_valid = _inside(px, py, num_tokens, num_frames)
    return total, px_occupied * px_valid, py_occupied * py_valid


def _inside(
    px: Tensor, py: Tensor, num_tokens: Tensor, num_frames: Tensor
) -> tuple[Tensor, Tensor]:
    """Which arcs of ``px`` and ``py`` belong to each utterance's own lattice."""
    token = torch.arange(py.shape[1], device=px.device)[:, None]
    frame = torch.arange(px.shape[2], device=px.device)
    num_tokens, num_frames = num_tokens[:, None, None], num_frames[:, None, None]
    in_time = frame < num_frames
    px_valid = (token[:-1] < num_tokens) & in_time
    py_valid = (token <= num_tokens) & in_time[..., : py.shape[2]]
    return px_valid, py_valid


def _by_step(
    px: Tensor, py: Tensor, num_tokens: Tensor, num_frames: Tensor, regular: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Sorts arcs by the step in which they are taken.

    Returns:
        ``enter`` and ``stay``, (N, B, U + 1), -inf where there is no arc; and for each arc of
        ``px`` and ``py`` its step, to bring results back.
    """
    batch, rows, frames = py.shape
    px_valid, py_valid = _inside(px, py, num_tokens, num_frames)
    px = px.masked_fill(~px_valid, -torch.inf)
    py = py.masked_fill(~py_valid, -torch.inf)
    row = torch.arange(rows, device=py.device)[:, None]
    frame = torch.arange(px.shape[2], device=py.device)
    # Step (from 0) that takes an arc: px[u, t] enters row u + 1, py[u, t] stays in row u.
    px_index = (row[:-1] + frame if regular else frame.expand(rows - 1, -1)).expand_as(px)
    py_index = (row + frame if regular else frame.expand(rows, -1))[:, :frames].expand_as(py)
    steps = frames + rows - 1 if regular else frames
    enter = px.new_full((batch, rows, steps), -torch.inf)
    enter[:, 1:].scatter_(2, px_index, px)
    stay = py.new_full((batch, rows, steps), -torch.inf)
    stay.scatter_(2, py_index, py)
    enter, stay = (x.permute(2, 0, 1).contiguous() for x in (enter, stay))
    return enter, stay, (px_index, py_index)


def reduce(loss: Tensor, reduction: Reduction) -> Tensor:
    """(B,) -> (B,), or the sum or mean over the batch.

    Raises:
        ValueError: If there is no such reduction.
    """
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    raise ValueError(f"reduction {reduction!r}: choose 'none', 'sum' or 'mean'")


def check_lattice(
    symbols: Tensor, boundary: Tensor, rows: int, frames: int, rnnt_type: RnntType
) -> None:
    """Refuses inputs that do not describe one lattice.

    Raises:
        ValueError: Naming the argument and its shape.
    """
    if rnnt_type not in TYPES:
        raise ValueError(f"rnnt_type {rnnt_type!r}: choose one of {', '.join(TYPES)}")
    if symbols.ndim != 2 or symbols.shape[1] != rows - 1:
        raise ValueError(f"symbols must be (B, {rows - 1}), got {tuple(symbols.shape)}")
    if boundary.shape != (symbols.shape[0], 4):
        raise ValueError(f"boundary must be ({symbols.shape[0]}, 4), got {tuple(boundary.shape)}")
    if boundary.numel() and (
        bool((boundary[:, :2] != 0).any())
        or bool((boundary[:, 2] > rows - 1).any())
        or bool((boundary[:, 3] > frames).any())
        or bool((boundary < 0).any())
    ):
        raise ValueError(
            f"boundary rows must be (0, 0, tokens <= {rows - 1}, frames <= {frames}), "
            f"got {boundary.tolist()}"
        )
