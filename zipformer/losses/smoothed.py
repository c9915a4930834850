"""The simple transducer loss, which also shows what part of the lattice deserves a closer look.

Its joiner adds encoder and predictor scores without a nonlinearity, so that the whole lattice is
normalised with one matrix product and never exists with the vocabulary as an axis (pruned RNN-T,
arXiv 2206.13236, sections 2 and 3).

Letters: B batch, U tokens, T frames, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zipformer import ops
from zipformer.losses.checks import Reduction, RnntType, at_least_float, checked_lattice, reduce
from zipformer.losses.emission import PLAIN, Emission
from zipformer.losses.lattice import lattice_sum, tokens_first


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
    emission: Emission = PLAIN,
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
        emission: What favours early tokens.

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
        px, py = ops.smoothed_arcs(am, lm, symbols, lm_scale, am_scale, blank)
    px = emission(px, boundary[:, 3])
    total, px_grad, py_grad = lattice_sum(px, py, boundary, rnnt_type)
    loss = reduce(-total, reduction)
    return (loss, (tokens_first(px_grad, rnnt_type), py_grad.mT)) if return_grad else loss
