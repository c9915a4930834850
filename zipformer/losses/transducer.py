"""The pruned transducer loss as training uses it: a simple pass that prunes, then a full one.

Letters: B batch, U tokens, T frames, D channels of the encoder, P of the predictor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zipformer.heads.joiner import Joiner
from zipformer.losses.backend import transducer_backend
from zipformer.losses.checks import Backend, Reduction, RnntType
from zipformer.losses.emission import PLAIN, Emission


def transducer_losses(
    encoder_out: Tensor,
    lengths: Tensor,
    predictor_out: Tensor,
    tokens: Tensor,
    token_lens: Tensor,
    simple_am_proj: Callable[[Tensor], Tensor],
    simple_lm_proj: Callable[[Tensor], Tensor],
    joiner: Joiner,
    prune_range: int = 5,
    lm_scale: float = 0.25,
    am_scale: float = 0.0,
    rnnt_type: RnntType = "regular",
    backend: Backend = "torch",
    blank: int = 0,
    reduction: Reduction = "none",
    emission: Emission = PLAIN,
) -> tuple[Tensor, Tensor]:
    """Simple and pruned loss of a batch (arXiv 2206.13236).

    Projections and joiner run in the precision of training, the losses in float32.

    Args:
        encoder_out: (B, T, D).
        lengths: (B,) valid frames.
        predictor_out: (B, U + 1, P), from a blank and the tokens.
        tokens: (B, U) int64; padding may hold anything.
        token_lens: (B,) valid tokens.
        simple_am_proj: To the simple joiner's scores, (B, T, D) -> (B, T, V).
        simple_lm_proj: The same for the predictor, (B, U + 1, P) -> (B, U + 1, V).
        joiner: Its projections run before pruning, and the rest of it after.
        prune_range: Tokens kept at each frame, at least 2.
        lm_scale: As in ``smoothed_transducer_loss``.
        am_scale: As in ``smoothed_transducer_loss``.
        rnnt_type: As in ``smoothed_transducer_loss``.
        backend: ``torch`` or ``k2``.
        blank: Id of the blank.
        reduction: As in ``smoothed_transducer_loss``; ``sum`` and ``mean`` need much less memory.
        emission: What favours early tokens; k2 knows the delay penalty only.

    Returns:
        The simple and the pruned loss, two scalars or (B,) of each utterance; +inf where tokens and
        frames cannot be aligned.

    Raises:
        ValueError: If the backend is unknown or shapes do not fit.
        ImportError: If the backend is not installed.
    """
    losses = transducer_backend(backend)
    zeros = torch.zeros_like(lengths)
    boundary = torch.stack([zeros, zeros, token_lens.to(lengths), lengths], dim=1).long()
    am, lm = simple_am_proj(encoder_out), simple_lm_proj(predictor_out)
    with torch.autocast(encoder_out.device.type, enabled=False):
        simple, (px_grad, py_grad) = losses.smoothed_transducer_loss(
            am,
            lm,
            tokens,
            boundary,
            lm_scale=lm_scale,
            am_scale=am_scale,
            blank=blank,
            rnnt_type=rnnt_type,
            reduction=reduction,
            return_grad=True,
            emission=emission,
        )
    ranges = losses.prune_ranges(px_grad, py_grad, boundary, prune_range)
    pruned = losses.pruned_joiner_loss(
        joiner.encoder_proj(encoder_out),
        joiner.decoder_proj(predictor_out),
        joiner.output_linear,
        tokens,
        ranges,
        boundary,
        blank=blank,
        rnnt_type=rnnt_type,
        reduction=reduction,
        emission=emission,
    )
    return simple, pruned
