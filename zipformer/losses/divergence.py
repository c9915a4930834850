"""How far two views of one batch are apart, point by point of the pruned transducer lattice.

The views are two encodings of the same utterances, say with and without future context. They share
predictor, joiner and prune ranges, so that their lattices have the same cells. Every frame counts
once: as the mean over the rows kept that belong to the utterance.

Letters: B batch, U tokens, T frames, V vocabulary, S tokens kept at each frame, D joiner channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zipformer.losses.checks import at_least_float, checked_lattice
from zipformer.losses.joined import tiles
from zipformer.losses.pruned import prune

Divergence = Callable[[Tensor, Tensor, Tensor], Tensor]


def lattice_distillation(
    teacher: Tensor,
    student: Tensor,
    lm: Tensor,
    output: torch.nn.Linear,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    blank: int = 0,
    shift: int = 0,
) -> Tensor:
    """KL(teacher || student) over the next token, the blank, and everything else.

    The in-place distillation of dual-mode ASR (Yu et al., ICLR 2021, section 3.3) with the
    three-way compression of transducer lattices (arXiv 2011.06110). Nothing flows back into the
    teacher.

    Args:
        teacher, student: (B, T, D), projected encoder outputs of the two views.
        lm: (B, U + 1, D), projected predictor outputs.
        output: The joiner's last layer, D to V.
        symbols: (B, U) int64.
        ranges: (B, T, S), from ``prune_ranges``.
        boundary: (B, 4) int64 rows (0, 0, U, T).
        blank: Id of the blank.
        shift: Frames by which the student may speak later than the teacher; negative for earlier.
            Frames without a counterpart do not count.

    Returns:
        A scalar, the sum over frames and utterances.

    Raises:
        ValueError: If shapes do not fit together.
    """
    _check_views(teacher, student)
    frames, last = teacher.shape[1], boundary[:, 3:] - 1
    counterpart = torch.arange(frames, device=teacher.device) - shift  # (T,)
    teacher = teacher.detach()[:, counterpart.clamp(0, max(frames - 1, 0))]
    paired = (counterpart >= 0) & (counterpart <= last)  # (B, T)

    def divergence(teacher: Tensor, student: Tensor, next_token: Tensor) -> Tensor:
        p = _three_way(teacher.detach(), next_token, blank)
        return _kl(p, _three_way(student, next_token, blank))

    views = teacher, student
    return _over_cells(divergence, views, lm, output, symbols, ranges, boundary, blank, paired)


def lattice_consistency(
    one: Tensor,
    other: Tensor,
    lm: Tensor,
    output: torch.nn.Linear,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    blank: int = 0,
) -> Tensor:
    """(KL(one || other) + KL(other || one)) / 2 over the whole vocabulary.

    Mode consistency of transducers (arXiv 2604.19079). The gradient flows into both views.

    Args:
        one, other: (B, T, D), projected encoder outputs of the two views.
        lm, output, symbols, ranges, boundary, blank: As in ``lattice_distillation``.

    Returns:
        A scalar, the sum over frames and utterances.

    Raises:
        ValueError: If shapes do not fit together.
    """
    _check_views(one, other)

    def divergence(one: Tensor, other: Tensor, _: Tensor) -> Tensor:
        p, q = one.log_softmax(dim=-1), other.log_softmax(dim=-1)
        return 0.5 * (_kl(p, q) + _kl(q, p))

    views, everywhere = (one, other), torch.ones_like(ranges[..., 0], dtype=torch.bool)
    return _over_cells(divergence, views, lm, output, symbols, ranges, boundary, blank, everywhere)


def _over_cells(
    divergence: Divergence,
    views: tuple[Tensor, Tensor],
    lm: Tensor,
    output: torch.nn.Linear,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    blank: int,
    counts: Tensor,
) -> Tensor:
    """Sums a divergence of logits over the cells of frames that count, (B, T) bool.

    It goes through a few utterances at a time, and through them again in the backward pass, so that
    the logits of the batch never exist at once.
    """
    sizes = (lm.shape[0], symbols.shape[1], ranges.shape[1], output.out_features)
    symbols, boundary = checked_lattice(symbols, boundary, sizes, "regular", blank)

    def tile(one: Tensor, other: Tensor, lm: Tensor, rows: slice, frames: int) -> Tensor:
        kept = ranges[rows, :frames]  # (b, T, S)
        following = F.pad(symbols[rows], (0, 1), value=blank)
        next_token = following.unsqueeze(1).expand(-1, frames, -1).gather(2, kept)
        first, second = (_logits(am[:, :frames], lm, output, kept) for am in (one, other))
        apart = divergence(first, second, next_token)  # (b, T, S)
        frame = torch.arange(frames, device=kept.device)
        inside = counts[rows, :frames] & (frame < boundary[rows, 3:])
        weight = (kept <= boundary[rows, 2, None, None]) & inside.unsqueeze(2)
        apart = apart.masked_fill(~weight, 0.0).sum(dim=2)
        return (apart / weight.sum(dim=2).clamp(min=1)).sum()

    one, other = views
    with torch.autocast(lm.device.type, enabled=False):
        parts = [
            checkpoint(tile, one[rows], other[rows], lm[rows], rows, frames, use_reentrant=False)
            for rows, frames in tiles(boundary, ranges, 2 * output.out_features)
        ]
    return torch.stack(parts).sum() if parts else at_least_float(lm.new_zeros(()))


def _logits(am: Tensor, lm: Tensor, output: torch.nn.Linear, kept: Tensor) -> Tensor:
    am_kept, lm_kept = prune(am, lm, kept)
    hidden = torch.tanh(am_kept + lm_kept)
    weight, bias = output.weight.to(hidden.dtype), output.bias.to(hidden.dtype)
    return at_least_float(F.linear(hidden, weight, bias))


def _three_way(logits: Tensor, next_token: Tensor, blank: int) -> Tensor:
    """(..., V) -> (..., 3), log-probabilities of the next token, the blank, and the rest."""
    both = torch.stack([next_token, torch.full_like(next_token, blank)], dim=-1)
    nothing = torch.finfo(logits.dtype).min  # -inf would have no gradient where V = 2
    rest = logits.scatter(-1, both, nothing).logsumexp(dim=-1, keepdim=True)
    three = torch.cat([logits.gather(-1, both), rest], dim=-1)
    # Behind the last token there is no next one: it stands for the blank there, and counts once.
    first = torch.arange(3, device=logits.device) == 0
    last = (next_token == blank).unsqueeze(-1) & first
    return three.masked_fill(last, -torch.inf).log_softmax(dim=-1)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL of log-probabilities over the last axis; what is impossible in both adds nothing."""
    difference = (p - q).masked_fill(p == -torch.inf, 0.0)
    return (p.exp() * difference).sum(dim=-1)


def _check_views(one: Tensor, other: Tensor) -> None:
    if one.ndim != 3 or one.shape != other.shape:
        raise ValueError(
            f"two views of a batch must be (B, T, D) of one shape, got {tuple(one.shape)} and "
            f"{tuple(other.shape)}"
        )
