"""Joiner and pruned transducer loss in one, so that the logits never exist all at once.

Letters: B batch, U tokens, T frames, V vocabulary, S tokens kept at each frame, D joiner channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from zipformer import ops
from zipformer.losses.checks import Reduction, RnntType, at_least_float, checked_lattice
from zipformer.losses.emission import PLAIN, Emission
from zipformer.losses.lattice import band_sum
from zipformer.losses.pruned import prune, pruned_transducer_loss
from zipformer.ops.autograd import FunctionCtx

# As many logits are worked on together, if one utterance has no more: what stays near the cache of
# a CPU, and what keeps a GPU busy.
LOGITS_AT_ONCE = {"cpu": 4_000_000, "cuda": 100_000_000}
TILES = 4  # at least, if there are as many utterances


def pruned_joiner_loss(
    am: Tensor,
    lm: Tensor,
    output: torch.nn.Linear,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    blank: int = 0,
    rnnt_type: RnntType = "regular",
    reduction: Reduction = "none",
    emission: Emission = PLAIN,
) -> Tensor:
    """The pruned loss of ``output(tanh(am + lm))`` on the cells that are kept.

    Equal to ``prune``, the joiner and ``pruned_transducer_loss``. With a reduction it works
    through a few utterances at a time and computes their gradients at once, so that it needs a
    fraction of the memory.

    Args:
        am: (B, T, D), projected encoder outputs.
        lm: (B, U + 1, D), projected predictor outputs.
        output: The joiner's last layer, D to V.
        symbols: (B, U) int64.
        ranges: (B, T, S), from ``prune_ranges``.
        boundary: (B, 4) int64 rows (0, 0, U, T).
        blank: Id of the blank.
        rnnt_type: As in ``smoothed_transducer_loss``.
        reduction: As in ``smoothed_transducer_loss``.
        emission: What favours early tokens.

    Returns:
        (B,) or a scalar.

    Raises:
        ValueError: If shapes do not fit together.
    """
    cells = _Cells(am, lm, output, symbols, ranges, boundary)
    by_parts = reduction != "none"  # a loss for each utterance needs all logits at once
    run = ops.choose(am, _all_at_once, fused=_part_by_part if by_parts else None)
    return run(cells, blank, rnnt_type, reduction, emission)


@dataclass(frozen=True)
class _Cells:
    """What is joined, and which cells of the lattice are kept; see ``pruned_joiner_loss``."""

    am: Tensor
    lm: Tensor
    output: torch.nn.Linear
    symbols: Tensor
    ranges: Tensor
    boundary: Tensor


def _all_at_once(
    cells: _Cells, blank: int, rnnt_type: RnntType, reduction: Reduction, emission: Emission
) -> Tensor:
    am_kept, lm_kept = prune(cells.am, cells.lm, cells.ranges)
    logits = cells.output(torch.tanh(am_kept + lm_kept))
    where = cells.symbols, cells.ranges, cells.boundary
    with torch.autocast(logits.device.type, enabled=False):
        return pruned_transducer_loss(logits, *where, blank, rnnt_type, reduction, emission)


def _part_by_part(
    cells: _Cells, blank: int, rnnt_type: RnntType, reduction: Reduction, emission: Emission
) -> Tensor:
    am, output = cells.am, cells.output
    sizes = (am.shape[0], cells.symbols.shape[1], am.shape[1], output.out_features)
    symbols, boundary = checked_lattice(cells.symbols, cells.boundary, sizes, rnnt_type, blank)
    inputs = am, cells.lm, output.weight, output.bias
    with_grad = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    with torch.autocast(am.device.type, enabled=False):
        total = _JoinedLoss.apply(
            *inputs, symbols, cells.ranges, boundary, blank, rnnt_type, emission, with_grad
        )
    return total / max(am.shape[0], 1) if reduction == "mean" else total


class _JoinedCtx(FunctionCtx, Protocol):
    boost: float


class _JoinedLoss(torch.autograd.Function):
    """Gradients are computed in the forward pass, while the logits are there.

    That takes the loss to be summed, so that what comes back is one number, and three matrix
    products; to come back to the logits later would take a fourth.
    """

    @staticmethod
    def forward(
        ctx: _JoinedCtx,
        am: Tensor,
        lm: Tensor,
        weight: Tensor,
        bias: Tensor,
        symbols: Tensor,
        ranges: Tensor,
        boundary: Tensor,
        blank: int,
        rnnt_type: RnntType,
        emission: Emission,
        with_grad: bool,
    ) -> Tensor:
        narrow, narrow_bias = weight.to(am.dtype), bias.to(am.dtype)
        loss = at_least_float(am.new_zeros(()))
        if with_grad:
            am_grad, lm_grad, weight_grad, bias_grad = (
                torch.zeros_like(x, dtype=loss.dtype) for x in (am, lm, weight, bias)
            )
        # Half precision has no room for small gradients; the scaler of the loss comes later.
        is_half = am.dtype == torch.float16
        boost = 256.0 if is_half else 1.0
        # Nor for a sum over all cells of a tile; the scaler could not lower it in time.
        wide = torch.float32 if is_half else am.dtype
        for part, frames in tiles(boundary, ranges, weight.shape[0]):
            kept = ranges[part, :frames]  # (b, T, S)
            rows = F.pad(symbols[part], (0, 1), value=blank)  # what follows each row
            next_token = rows.unsqueeze(1).expand(-1, frames, -1).gather(2, kept).flatten()
            hidden = ops.join(am[part, :frames], lm[part], kept)  # (b T S, D)
            logits = torch.addmm(narrow_bias, hidden, narrow.t())  # (b T S, V)
            cells = ops.arcs(logits, next_token, blank)
            del logits
            arcs = cells.token.view(kept.shape), cells.blank.view(kept.shape)
            with torch.set_grad_enabled(with_grad):  # two small tensors; the rest is written out
                arcs[0].requires_grad_(with_grad), arcs[1].requires_grad_(with_grad)
                token = emission(arcs[0], boundary[part, 3])
                log_probs = band_sum(token, arcs[1], kept, boundary[part], rnnt_type, rows.shape[1])
                total = -log_probs.sum()
            loss += total.detach()
            if not with_grad:
                continue
            arc_grads = (boost * x.flatten() for x in torch.autograd.grad(total, arcs))
            grad = cells.gradient(*arc_grads).to(am.dtype)
            del cells
            weight_grad += grad.t().to(wide) @ hidden.to(wide)
            bias_grad += grad.sum(dim=0, dtype=bias_grad.dtype)
            hidden_grad = grad @ narrow
            del grad
            am_grad[part, :frames] = ops.unjoin(hidden_grad, hidden, kept, lm_grad[part])
        if with_grad:
            ctx.boost = boost
            ctx.save_for_backward(am_grad, lm_grad, weight_grad, bias_grad)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: _JoinedCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(x * (grad / ctx.boost) for x in ctx.saved_tensors), *[None] * 7


def tiles(boundary: Tensor, ranges: Tensor, vocab_size: int) -> Iterator[tuple[slice, int]]:
    """Groups of utterances, and the frames of the longest in each."""
    batch, frames, kept = ranges.shape
    most = LOGITS_AT_ONCE.get(boundary.device.type, LOGITS_AT_ONCE["cpu"])
    size = min(most // max(1, frames * kept * vocab_size), -(-batch // TILES))
    for start in range(0, batch, max(1, size)):
        part = slice(start, start + max(1, size))
        # On a GPU, to ask for the longest would be to wait for it.
        known = boundary.device.type == "cpu"
        yield part, int(boundary[part, 3].max()) if known else frames
