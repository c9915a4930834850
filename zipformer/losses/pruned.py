"""The pruned transducer loss: the full joiner, on a band of the lattice.

Letters: B batch, U tokens, T frames, V vocabulary, S tokens kept at each frame, D channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.losses.lattice import (
    Reduction,
    RnntType,
    check_lattice,
    lattice_log_prob,
    reduce,
)
from zipformer.losses.smoothed import close_lattice


def prune_ranges(px_grad: Tensor, py_grad: Tensor, boundary: Tensor, s_range: int) -> Tensor:
    """Which tokens to keep at each frame: the S neighbours that alignments most likely pass.

    The first of them never decreases over time and grows by less than S a frame (by at most one
    where a token consumes a frame), so that some alignment stays inside (arXiv 2206.13236,
    section 3.2).

    Args:
        px_grad: (B, U, T + 1) or (B, U, T), from ``smoothed_transducer_loss``.
        py_grad: (B, U + 1, T).
        boundary: (B, 4) int64 rows (0, 0, U, T).
        s_range: S; all U + 1 rows are kept if it is larger.

    Returns:
        (B, T, S) int64 row numbers, consecutive along S.

    Raises:
        ValueError: If ``s_range`` is too small for an alignment to exist.
    """
    _, rows, frames = py_grad.shape
    regular = px_grad.shape[2] == frames + 1
    s_range = min(s_range, rows)
    if s_range < min(rows, 2 if regular else 1):
        raise ValueError(f"s_range (loss.prune_range) {s_range} is too small; use 2 or more")
    starts = rows - s_range + 1
    # Blanks on the rows kept, less the tokens that enter the first of them from outside.
    kept = py_grad.unfold(1, s_range, 1).sum(dim=-1)  # (B, starts, T)
    entering = F.pad(px_grad[:, :, :frames], (0, 0, 1, 0))[:, :starts]
    begin = (kept - entering).argmax(dim=1)  # (B, T)

    frame = torch.arange(frames, device=begin.device)
    at_end = (boundary[:, 2:3] - s_range + 1).clamp(min=0)
    begin = torch.where(frame < boundary[:, 3:] - 1, begin, at_end)
    slope = (s_range - 1 if regular else 1) * frame
    begin = _falling_bound(begin)  # never decreasing
    begin = slope - _falling_bound(slope - begin).clamp(min=0)  # never too steep, from row 0
    return begin.unsqueeze(2) + torch.arange(s_range, device=begin.device)


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
    """
    batch, frames, kept = ranges.shape
    am = am.unsqueeze(2).expand(-1, -1, kept, -1)
    index = ranges.reshape(batch, frames * kept, 1).expand(-1, -1, lm.shape[2])
    return am, lm.gather(1, index).view(batch, frames, kept, lm.shape[2])


def pruned_transducer_loss(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    blank: int = 0,
    rnnt_type: RnntType = "regular",
    reduction: Reduction = "none",
) -> Tensor:
    """Negative log-likelihood, summed over the alignments inside the kept band.

    Args:
        logits: (B, T, S, V), joiner output, not normalised.
        symbols: (B, U) int64.
        ranges: (B, T, S), from ``prune_ranges``.
        boundary: (B, 4) int64 rows (0, 0, U, T).
        blank, rnnt_type, reduction: As in ``smoothed_transducer_loss``.

    Returns:
        (B,) or a scalar; +inf where no alignment exists.

    Raises:
        ValueError: If shapes do not fit together.
    """
    if logits.ndim != 4 or ranges.shape != logits.shape[:3]:
        raise ValueError(
            f"logits must be (B, T, S, V) and ranges (B, T, S), got {tuple(logits.shape)} and "
            f"{tuple(ranges.shape)}"
        )
    batch, frames, _, _ = logits.shape
    rows = symbols.shape[1] + 1
    check_lattice(symbols, boundary, rows, frames, rnnt_type)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    normalizer = logits.logsumexp(dim=3)  # (B, T, S)
    # Row U has no next token; whatever stands there is never used.
    padded = F.pad(symbols, (0, 1), value=blank)  # (B, U + 1)
    next_token = padded.unsqueeze(1).expand(-1, frames, -1).gather(2, ranges)  # (B, T, S)
    token = logits.gather(3, next_token.unsqueeze(3)).squeeze(3) - normalizer
    no_token = logits[..., blank] - normalizer

    outside = token.new_full((batch, frames, rows), -torch.inf)
    px = outside.scatter(2, ranges, token).mT[:, :-1]  # (B, U, T)
    py = outside.scatter(2, ranges, no_token).mT  # (B, U + 1, T)
    total, _, _ = lattice_log_prob(close_lattice(px, py, rnnt_type), py, boundary)
    return reduce(-total, reduction)
