"""The simple transducer loss, which also shows what part of the lattice deserves a closer look.

Its joiner adds encoder and predictor scores without a nonlinearity, so that the whole lattice is
normalised with one matrix product and never exists with the vocabulary as an axis (pruned RNN-T,
arXiv 2206.13236, sections 2 and 3).

Letters: B batch, U tokens, T frames, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.losses.checks import Reduction, RnntType, at_least_float, checked_lattice, reduce
from zipformer.losses.lattice import lattice_log_prob


def smoothed_transducer_loss(
    am: Tensor,
    lm: Tensor,
    symbols: Tensor,
    boundary: Tensor,
    lm_scale: float,
    am_scale: float,
    blank: int = 0,
    rnnt_type: RnntType = "regular",
    reduction: Reduction = "none",
    return_grad: bool = False,
) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
    """Negative log-likelihood under an additive joiner, smoothed with its two halves.

    The log-probability of an arc is
    ``lm_scale * lm_only + am_scale * am_only + (1 - lm_scale - am_scale) * joint``, where lm_only
    normalises the predictor scores alone, and am_only the encoder scores with the batch's mean
    predictor distribution as a prior. (That mean takes in padding, as published: with an
    ``am_scale`` an utterance's loss depends a little on its company.)

    Computed in float32, also under autocast, or in float64 if the scores are.

    Args:
        am: (B, T, V), encoder scores.
        lm: (B, U + 1, V), predictor scores.
        symbols: (B, U) int64.
        boundary: (B, 4) int64 rows (0, 0, U, T).
        lm_scale: Weight of the predictor alone.
        am_scale: Weight of the encoder alone.
        blank: Id of the blank.
        rnnt_type: ``regular``, ``modified`` (a token consumes a frame) or ``constrained`` (it does
            so with a blank after it).
        reduction: ``none``, ``sum`` or ``mean`` over the batch.
        return_grad: Whether to return the occupation probabilities as well.

    Returns:
        (B,) or a scalar, +inf where no alignment exists; with ``return_grad`` also
        ``(px_grad, py_grad)``, the probabilities that an alignment takes each token and each blank
        arc: (B, U, T + 1) in the regular type, otherwise (B, U, T), and (B, U + 1, T).

    Raises:
        ValueError: If shapes do not fit together.
    """
    if am.ndim != 3 or lm.ndim != 3 or am.shape[::2] != lm.shape[::2] or lm.shape[1] < 1:
        raise ValueError(
            f"am must be (B, T, V) and lm (B, U + 1, V), got {tuple(am.shape)} and "
            f"{tuple(lm.shape)}"
        )
    sizes = (am.shape[0], lm.shape[1] - 1, am.shape[1], am.shape[2])
    symbols, boundary = checked_lattice(symbols, boundary, sizes, rnnt_type, blank)
    with torch.autocast(am.device.type, enabled=False):
        am, lm = at_least_float(am), at_least_float(lm)
        px, py = _smoothed_log_probs(am, lm, symbols, lm_scale, am_scale, blank)
    px = close_lattice(px, py, rnnt_type)
    total, px_grad, py_grad = lattice_log_prob(px, py, boundary)
    loss = reduce(-total, reduction)
    return (loss, (px_grad, py_grad)) if return_grad else loss


def close_lattice(px: Tensor, py: Tensor, rnnt_type: RnntType) -> Tensor:
    """Gives token arcs (B, U, T) the form of a lattice type.

    Regular: a last column in which nothing can be emitted any more, (B, U, T + 1). Constrained:
    every token is followed by a blank in the same frame.
    """
    if rnnt_type == "regular":
        return F.pad(px, (0, 1), value=-torch.inf)
    return px + py[:, 1:] if rnnt_type == "constrained" else px


def _smoothed_log_probs(
    am: Tensor, lm: Tensor, symbols: Tensor, lm_scale: float, am_scale: float, blank: int
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of tokens (B, U, T) and blanks (B, U + 1, T)."""
    num_frames, num_tokens = am.shape[1], symbols.shape[1]
    am_token = am.gather(2, symbols.unsqueeze(1).expand(-1, num_frames, -1)).mT  # (B, U, T)
    lm_token = lm[:, :num_tokens].gather(2, symbols.unsqueeze(2))  # (B, U, 1)
    am_blank = am[:, :, blank].unsqueeze(1)  # (B, 1, T)
    lm_blank = lm[:, :, blank].unsqueeze(2)  # (B, U + 1, 1)

    tiny = torch.finfo(am.dtype).tiny
    am_max, lm_max = _finite_max(am), _finite_max(lm)  # (B, T, 1), (B, U + 1, 1)
    am_exp, lm_exp = (am - am_max).exp(), (lm - lm_max).exp()
    px = torch.zeros_like(am_token)
    py = px.new_zeros(am.shape[0], num_tokens + 1, num_frames)
    rest = 1.0 - lm_scale - am_scale
    if rest != 0.0:
        joint = (lm_exp @ am_exp.mT + tiny).log() + lm_max + am_max.mT  # (B, U + 1, T)
        px = px + rest * (am_token + lm_token - joint[:, :num_tokens])
        py = py + rest * (am_blank + lm_blank - joint)
    lm_sum = lm_exp.sum(dim=2, keepdim=True) + tiny  # (B, U + 1, 1)
    if lm_scale != 0.0:
        lm_only = lm_sum.log() + lm_max
        px = px + lm_scale * (lm_token - lm_only[:, :num_tokens])
        py = py + lm_scale * (lm_blank - lm_only)
    if am_scale != 0.0:
        prior = (lm_exp / lm_sum).mean(dim=(0, 1)) + tiny  # (V,)
        am_only = (am_exp @ prior + tiny).log().unsqueeze(1) + am_max.mT  # (B, 1, T)
        log_prior = prior.log()
        px = px + am_scale * (am_token + log_prior[symbols].unsqueeze(2) - am_only)
        py = py + am_scale * (am_blank + log_prior[blank] - am_only)
    return px, py


def _finite_max(x: Tensor) -> Tensor:
    """The largest score, (B, N, V) -> (B, N, 1), or 0 where all are -inf; a constant offset."""
    largest = x.detach().amax(dim=2, keepdim=True)
    return largest.masked_fill(largest == -torch.inf, 0.0)
