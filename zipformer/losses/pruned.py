"""The pruned transducer loss: the full joiner, on a band of the lattice.

Letters: B batch, U tokens, T frames, V vocabulary, S tokens kept at each frame, D channels.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from zipformer.losses.checks import Reduction, RnntType, at_least_float, checked_lattice, reduce
from zipformer.losses.emission import PLAIN, Emission
from zipformer.losses.lattice import band_sum
from zipformer.ops.autograd import FunctionCtx


def prune_ranges(px_grad: Tensor, py_grad: Tensor, boundary: Tensor, s_range: int) -> Tensor:
    """Which tokens to keep at each frame: the S neighbours that alignments most likely pass.

    The first of them never decreases over time and grows by less than S a frame (by at most one
    where a token consumes a frame), so that some alignment stays inside (arXiv 2206.13236,
    section 3.2). Where an utterance has too few frames for that, its end may lie outside.

    Args:
        px_grad: (B, U, T + 1) or (B, U, T), from ``smoothed_transducer_loss``.
        py_grad: (B, U + 1, T).
        boundary: (B, 4) int64 rows (0, 0, U, T).
        s_range: S; all U + 1 rows are kept if it is larger.

    Returns:
        (B, T, S) int64 row numbers, consecutive along S.

    Raises:
        ValueError: If shapes do not fit together, or ``s_range`` is too small for an alignment to
            exist.
    """
    shape = tuple(py_grad.shape)
    if py_grad.ndim != 3 or px_grad.shape not in _token_shapes(py_grad):
        raise ValueError(
            f"px_grad must be (B, U, T + 1) or (B, U, T) and py_grad (B, U + 1, T), got "
            f"{tuple(px_grad.shape)} and {shape}"
        )
    if boundary.shape != (shape[0], 4):
        raise ValueError(f"boundary must be ({shape[0]}, 4), got {tuple(boundary.shape)}")
    _, rows, frames = shape
    regular = px_grad.shape[2] == frames + 1
    if s_range < (2 if regular else 1):
        raise ValueError(f"s_range (loss.prune_range) {s_range} is too small: use 2 or more")
    s_range = min(s_range, rows)
    # Blanks on the rows kept, less the tokens that enter the first of them from outside.
    kept = py_grad.unfold(1, s_range, 1).sum(dim=-1)  # (B, rows - S + 1, T)
    entering = F.pad(px_grad[:, :, :frames], (0, 0, 1, 0))[:, : kept.shape[1]]
    begin = (kept - entering).argmax(dim=1)  # (B, T)

    frame = torch.arange(frames, device=begin.device)
    at_end = (boundary[:, 2:3] - s_range + 1).clamp(min=0)
    begin = torch.where(frame < boundary[:, 3:] - 1, begin, at_end)
    slope = (s_range - 1 if regular else 1) * frame
    begin = _falling_bound(begin)  # never decreasing
    begin = slope - _falling_bound(slope - begin).clamp(min=0)  # early enough, and from row 0
    return begin.unsqueeze(2) + torch.arange(s_range, device=begin.device)


def _token_shapes(py_grad: Tensor) -> tuple[tuple[int, int, int], ...]:
    batch, rows, frames = py_grad.shape
    return (batch, rows - 1, frames + 1), (batch, rows - 1, frames)


def _falling_bound(x: Tensor) -> Tensor:
    """The largest non-decreasing sequence that lies nowhere above ``x`` (B, T)."""
    return x.flip(1).cummin(dim=1).values.flip(1)


def prune(am: Tensor, lm: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Brings encoder and predictor outputs to the cells that are kept.

    Args:
        am: (B, T, D).
        lm: (B, U + 1, D).
        ranges: (B, T, S).

    Returns:
        Twice (B, T, S, D); the first is a view.

    Raises:
        ValueError: If shapes do not fit together.
    """
    if am.ndim != 3 or lm.ndim != 3 or ranges.ndim != 3 or ranges.shape[:2] != am.shape[:2]:
        raise ValueError(
            "am must be (B, T, D), lm (B, U + 1, D) and ranges (B, T, S), got "
            f"{tuple(am.shape)}, {tuple(lm.shape)} and {tuple(ranges.shape)}"
        )
    utterance = torch.arange(lm.shape[0], device=lm.device)[:, None, None]
    return am.unsqueeze(2).expand(-1, -1, ranges.shape[2], -1), lm[utterance, ranges]


def pruned_transducer_loss(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    blank: int = 0,
    rnnt_type: RnntType = "regular",
    reduction: Reduction = "none",
    emission: Emission = PLAIN,
) -> Tensor:
    """Negative log-likelihood, summed over the alignments inside the kept band.

    Computed in float32, or in float64 if the logits are.

    Args:
        logits: (B, T, S, V), joiner output, not normalised.
        symbols: (B, U) int64.
        ranges: (B, T, S), from ``prune_ranges``.
        boundary: (B, 4) int64 rows (0, 0, U, T).
        blank: Id of the blank.
        rnnt_type: As in ``smoothed_transducer_loss``.
        reduction: As in ``smoothed_transducer_loss``.
        emission: What favours early tokens.

    Returns:
        (B,) or a scalar; +inf where the band holds no alignment.

    Raises:
        ValueError: If shapes do not fit together.
    """
    if logits.ndim != 4 or ranges.shape != logits.shape[:3]:
        raise ValueError(
            f"logits must be (B, T, S, V) and ranges (B, T, S), got {tuple(logits.shape)} and "
            f"{tuple(ranges.shape)}"
        )
    if symbols.ndim != 2:
        raise ValueError(f"symbols must be (B, U), got {tuple(symbols.shape)}")
    batch, frames, _, vocab_size = logits.shape
    sizes = (batch, symbols.shape[1], frames, vocab_size)
    symbols, boundary = checked_lattice(symbols, boundary, sizes, rnnt_type, blank)
    # Row U has no next token; whatever stands there is never used.
    rows = F.pad(symbols, (0, 1), value=blank).unsqueeze(1).expand(-1, frames, -1)
    token, no_token = _ArcLogProbs.apply(logits, rows.gather(2, ranges), blank)  # (B, T, S) each

    token = emission(token, boundary[:, 3])
    total = band_sum(token, no_token, ranges, boundary, rnnt_type, rows.shape[2])
    return reduce(-total, reduction)


class _ArcCtx(FunctionCtx, Protocol):
    blank: int


class _ArcLogProbs(torch.autograd.Function):
    """Log-softmax at two ids of every cell: its next token and the blank.

    The logits are by far the largest tensor of transducer training. Written out, this keeps one
    more of their size in the backward pass; torch's own gather, select and logsumexp keep five.
    """

    @staticmethod
    def forward(
        ctx: _ArcCtx, logits: Tensor, next_token: Tensor, blank: int
    ) -> tuple[Tensor, Tensor]:
        wide = at_least_float(logits)
        normalizer = wide.logsumexp(dim=3)
        # -inf minus -inf: a cell where all is impossible
        normalizer = normalizer.masked_fill(normalizer == -torch.inf, 0.0)
        token = wide.gather(3, next_token.unsqueeze(3)).squeeze(3) - normalizer
        ctx.save_for_backward(logits, next_token, normalizer)
        ctx.blank = blank
        return token, wide[..., blank] - normalizer

    @staticmethod
    @once_differentiable
    def backward(ctx: _ArcCtx, token_grad: Tensor, blank_grad: Tensor) -> tuple[Tensor, None, None]:
        logits, next_token, normalizer = ctx.saved_tensors
        grad = (at_least_float(logits) - normalizer.unsqueeze(3)).exp_()
        grad *= -(token_grad + blank_grad).unsqueeze(3)
        grad.scatter_add_(3, next_token.unsqueeze(3), token_grad.unsqueeze(3))
        grad[..., ctx.blank] += blank_grad
        return grad.to(logits.dtype), None, None
