"""Forward-backward over a lattice that moves by one step at a time, for a whole batch.

An arc leads from a row to the same row (it stays) or to the next one (it enters), and always from
step n to step n + 1. So all rows of all utterances move at once:

    alpha[n + 1, r] = alpha[n, r - 1] enter[n, r] + alpha[n, r] stay[n, r]

On a CPU this runs with probabilities, scaled now and then: two multiplications and an addition
where logarithms take exponentials. All paths pass every step, so the occupations of each step must
add up to one. Where they do not, numbers have left the range of float64 and paths were lost: those
utterances are done again with logarithms.

Letters: B batch, N steps, R rows, W = R + 1.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NEVER = -torch.inf
EVERY = 16  # steps between two scalings
DEAD = 1e-200  # of the largest: not worth the slow arithmetic of denormal numbers
TINY = 1e-37  # what float32 holds without slow arithmetic
TOLERANCE = 1e-9  # of the law above; rounding alone stays below 1e-11


def forward_backward(
    arcs: Tensor, num_steps: Tensor, last: Tensor, ring: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probability of all paths together, and how likely each arc is.

    Args:
        arcs: (2, B, N, R), log-probabilities of entering each row and of staying in it; they are
            overwritten.
        num_steps: (B,) int64, of each utterance.
        last: (B,) int64, the row that each utterance ends in; all begin in row 0.
        ring: Whether what leaves the last row enters row 0.

    Returns:
        (B,) and (2, B, N, R); -inf and zeros where there is no path.
    """
    # Shorter utterances wait in their last row, at no cost, until the batch has ended.
    waits = torch.arange(arcs.shape[2], device=arcs.device) >= num_steps[:, None]
    waiting = torch.arange(len(last), device=arcs.device), slice(None), last
    arcs[1][waiting] = arcs[1][waiting].masked_fill(waits, 0.0)
    if arcs.device.type == "cpu":
        total, occupied, exact = _with_probabilities(arcs, last, ring)
        again = ~exact
        if again.any():
            total[again], occupied[:, again] = _with_logarithms(arcs[:, again], last[again], ring)
    else:
        total, occupied = _with_logarithms(arcs, last, ring)
    arcs.copy_(F.threshold(occupied, TINY, 0.0, inplace=True))
    arcs[1][waiting] = arcs[1][waiting].masked_fill(waits, 0.0)
    return total.to(arcs.dtype), arcs


def _with_probabilities(arcs: Tensor, last: Tensor, ring: bool) -> tuple[Tensor, Tensor, Tensor]:
    """As ``forward_backward``, and (B,) bool where the result can be relied on.

    A step is one row of B times W = R + 1 numbers: in front of each utterance's rows is one
    that nothing enters or stays in (in a ring, a copy of the last row). So "the row before" is the
    same memory one number earlier, for all utterances at once.
    """
    _, batch, steps, rows = arcs.shape
    shape = batch, rows + 1
    flat = torch.zeros((steps + 1) * batch * (rows + 1) + 1, dtype=torch.float64)
    alpha, before = flat[1:].view(steps + 1, *shape), flat[:-1].view(steps + 1, *shape)
    alpha[0, :, 1] = 1.0
    if ring:
        alpha[0, :, 0] = alpha[0, :, -1]
    beta = torch.zeros(shape, dtype=torch.float64)
    beta[torch.arange(batch), last + 1] = 1.0
    occupied = torch.full((steps, 2, *shape), NEVER, dtype=torch.float64)
    inside = occupied[..., 1:].permute(1, 2, 0, 3)
    inside.copy_(arcs)
    occupied.exp_()
    with np.errstate(invalid="ignore", over="ignore"):  # such utterances are done again
        alpha_scale = _forward(occupied.numpy(), flat.numpy(), ring).cumsum(0)
        beta_scale = _backward(occupied.numpy(), beta.numpy(), ring).flip(0).cumsum(0).flip(0)
    total = alpha[-1, torch.arange(batch), last + 1].log() + alpha_scale[-1]
    # What follows the arcs is in them; now what comes before, as a share of the total:
    alpha[:-1] *= (alpha_scale[:-1] + beta_scale[1:] - total).exp().unsqueeze(2)
    occupied[:, 0] *= before[:-1]
    occupied[:, 1] *= alpha[:-1]
    exact = ((occupied.sum(dim=(1, 3)) - 1.0).abs() <= TOLERANCE).all(dim=0)
    return total, inside, exact & total.isfinite()


def _forward(arcs: np.ndarray, flat: np.ndarray, ring: bool) -> Tensor:
    """Fills alpha from its first step on.

    Args:
        arcs: (N, 2, B, W).
        flat: One number, and alpha (N + 1, B, W).
        ring: As in ``forward_backward``.

    Returns:
        (N + 1, B), the logarithm of what each step was divided by.
    """
    steps, _, batch, width = arcs.shape
    size = batch * width
    scale = np.zeros((steps + 1, batch))
    # The row before, and the row itself.
    sources = np.lib.stride_tricks.as_strided(flat, (steps, 2, size), (8 * size, 8, 8))
    by_row = flat[1 + size :].reshape(steps, batch, width)
    reached = np.empty((2, size))
    entering, staying = reached
    for n, (source, arc, target, first, end) in enumerate(
        zip(
            sources,
            arcs.reshape(steps, 2, size),
            by_row.reshape(steps, size),
            by_row[..., 0],
            by_row[..., -1],
            strict=True,
        )
    ):
        np.multiply(source, arc, out=reached)
        np.add(entering, staying, out=target)
        if n % EVERY == 0:
            scale[n + 1] = _rescale(by_row[n])
        if ring:
            np.copyto(first, end)
    return torch.from_numpy(scale)


def _backward(arcs: np.ndarray, beta: np.ndarray, ring: bool) -> Tensor:
    """Multiplies what follows each arc into it.

    Args:
        arcs: (N, 2, B, W).
        beta: (B, W), what follows the last step; it is overwritten.
        ring: As in ``forward_backward``.

    Returns:
        (N + 1, B), the logarithm of what was divided out before each step.
    """
    steps, _, batch, width = arcs.shape
    size = batch * width
    scale = np.zeros((steps + 1, batch))
    both, after = arcs.reshape(steps, 2, size), beta.reshape(size)
    in_a_row = arcs.reshape(steps, 2 * size)
    # Entering the next row; after the last row comes a staying arc that is zero.
    entering, staying = in_a_row[:, 1 : size + 1], in_a_row[:, size:]
    first, end = beta[:, 0], beta[:, -1]
    for n in reversed(range(steps)):
        np.multiply(both[n], after, out=both[n])
        np.add(entering[n], staying[n], out=after)
        if ring:  # what entered the first row came from the last one
            np.add(end, first, out=end)
        if n % EVERY == 0:
            scale[n] = _rescale(beta)
    return torch.from_numpy(scale)


def _rescale(x: np.ndarray) -> np.ndarray:
    """Makes the largest of each row of (B, W) one; returns the logarithms of what they were."""
    largest = x.max(axis=1, keepdims=True)
    largest[largest == 0.0] = 1.0
    x /= largest
    x[x < DEAD] = 0.0
    return np.log(largest[:, 0])


def _with_logarithms(arcs: Tensor, last: Tensor, ring: bool) -> tuple[Tensor, Tensor]:
    """As ``forward_backward``, slower, and in the range of logarithms."""
    _, batch, steps, rows = arcs.shape
    arcs = arcs.to(wide(arcs), copy=True)
    utterance = torch.arange(batch, device=arcs.device)
    alpha = arcs.new_full((batch, steps + 1, rows + 1), NEVER)
    alpha[:, 0, 1] = 0.0
    # Views of (2, B, R) for each step: the row before, and the row itself.
    sources = alpha.unfold(2, rows, 1).permute(1, 2, 0, 3)
    for n, arc in enumerate(arcs.unbind(2)):
        if ring:
            alpha[:, n, 0] = alpha[:, n, -1]
        alpha[:, n + 1, 1:] = torch.logaddexp(*(sources[n] + arc))
    total = alpha[utterance, -1, last + 1]
    beta = arcs.new_full((batch, rows), NEVER)
    beta[utterance, last] = 0.0
    for arc in arcs.unbind(2)[::-1]:
        arc += beta
        entering, staying = arc[0].roll(-1, dims=1), arc[1]
        if not ring:
            entering[:, -1] = NEVER
        beta = torch.logaddexp(entering, staying)
    arcs += alpha[:, :-1].unfold(2, rows, 1).permute(2, 0, 1, 3)
    arcs -= total.masked_fill(total == NEVER, 0.0)[:, None, None]
    return total, arcs.exp_()


def wide(x: Tensor) -> torch.dtype:
    """The type to add up in.

    An occupation is a small difference of large sums: in float32 a long utterance would lose three
    digits of it. Only Apple's GPUs have no float64.
    """
    return torch.float32 if x.device.type == "mps" else torch.float64
