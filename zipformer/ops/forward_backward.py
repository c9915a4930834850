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
EVERY = 8  # steps between two scalings
DEAD = 1e-250  # of the largest: not worth the slow arithmetic of denormal numbers
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

    A step is one row of numbers, B times W = R + 1: in front of each utterance's rows stands one
    that nothing reaches or leaves (in a ring, a copy of the last row).
    """
    _, batch, steps, rows = arcs.shape
    width = rows + 1
    alpha = torch.zeros(steps + 1, batch * width + 1, dtype=torch.float64)
    before, there = alpha[:, :-1], alpha[:, 1:]
    by_row = there.view(steps + 1, batch, width)
    by_row[0, :, 1] = 1.0
    if ring:
        by_row[0, :, 0] = by_row[0, :, -1]
    beta = torch.zeros(batch, width, dtype=torch.float64)
    beta[torch.arange(batch), last + 1] = 1.0
    occupied = torch.full((steps, 2, batch, width), NEVER, dtype=torch.float64)
    inside = occupied[..., 1:].permute(1, 2, 0, 3)
    inside.copy_(arcs)
    occupied.exp_()
    flat = occupied.view(steps, 2, batch * width)
    with np.errstate(invalid="ignore", over="ignore"):  # such utterances are done again
        alpha_scale = torch.from_numpy(_forward(flat.numpy(), alpha.numpy(), (batch, width), ring))
        beta_scale = torch.from_numpy(_backward(flat.numpy(), beta.numpy(), ring))
    alpha_scale = alpha_scale.cumsum(0)
    beta_scale = beta_scale.flip(0).cumsum(0).flip(0)
    total = by_row[-1, torch.arange(batch), last + 1].log() + alpha_scale[-1]
    # What lies behind the arcs is in them; now what lies before, as a share of the total:
    by_row[:-1] *= (alpha_scale[:-1] + beta_scale[1:] - total).exp().unsqueeze(2)
    flat[:, 0] *= before[:-1]
    flat[:, 1] *= there[:-1]
    exact = ((occupied.sum(dim=(1, 3)) - 1.0).abs() <= TOLERANCE).all(dim=0)
    return total, inside, exact & total.isfinite()


def _forward(arcs: np.ndarray, alpha: np.ndarray, shape: tuple[int, int], ring: bool) -> np.ndarray:
    """Fills ``alpha`` (N + 1, 1 + B W) from its first step on; ``shape`` is (B, W).

    Returns:
        (N + 1, B), the logarithm of what each step was divided by.
    """
    steps, _, size = arcs.shape
    scale = np.zeros((steps + 1, shape[0]))
    along_steps, along_rows = alpha.strides
    sources = np.lib.stride_tricks.as_strided(  # the row before, and the row itself
        alpha, (steps, 2, size), (along_steps, along_rows, along_rows)
    )
    targets = alpha[1:, 1:]
    reached = np.empty((2, size))
    for n, (source, arc, target) in enumerate(zip(sources, arcs, targets, strict=True)):
        np.multiply(source, arc, out=reached)
        np.add(reached[0], reached[1], out=target)
        by_row = target.reshape(shape)
        if n % EVERY == 0:
            scale[n + 1] = _rescale(by_row)
        if ring:
            by_row[:, 0] = by_row[:, -1]
    return scale


def _backward(arcs: np.ndarray, beta: np.ndarray, ring: bool) -> np.ndarray:
    """Multiplies what lies behind each arc into it.

    ``beta`` (B, W) begins as what lies behind the last step.

    Returns:
        (N + 1, B), the logarithm of what was divided out before each step.
    """
    scale = np.zeros((len(arcs) + 1, len(beta)))
    flat = beta.reshape(-1)
    for n in reversed(range(len(arcs))):
        entering, staying = arc = arcs[n]
        np.multiply(arc, flat, out=arc)
        np.add(staying[:-1], entering[1:], out=flat[:-1])
        if ring:  # what entered the first row came from the last one
            beta[:, -1] = staying.reshape(beta.shape)[:, -1] + beta[:, 0]
        else:
            flat[-1:] = staying[-1:]
        if n % EVERY == 0:
            scale[n] = _rescale(beta)
    return scale


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
