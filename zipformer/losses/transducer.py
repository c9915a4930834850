"""The pruned transducer loss as training uses it: a simple pass that prunes, then a full one.

Letters: B batch, U tokens, T frames, D channels of the encoder, P of the predictor, J of the
joiner, S tokens kept at each frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol, Unpack

import torch
from torch import Tensor

from zipformer.losses.backend import transducer_backend
from zipformer.losses.checks import Backend, Reduction, RnntType
from zipformer.losses.emission import PLAIN, Emission
from zipformer.losses.options import LossOptions


class JoinerProjections(Protocol):
    """The three layers of a joiner.

    Logits are ``output_linear(tanh(encoder_proj(encoder_out) + decoder_proj(predictor_out)))``.
    """

    @property
    def encoder_proj(self) -> Callable[[Tensor], Tensor]: ...  # noqa: D102

    @property
    def decoder_proj(self) -> Callable[[Tensor], Tensor]: ...  # noqa: D102

    @property
    def output_linear(self) -> torch.nn.Linear: ...  # noqa: D102


class Options(LossOptions, total=False):
    """Settings of the losses, with the meaning and defaults of ``shared_transducer_losses``."""

    prune_range: int
    lm_scale: float
    am_scale: float
    backend: Backend


@dataclass(frozen=True)
class SharedLattice:
    """What the pruned losses of several views of a batch were computed on.

    Args:
        am: (B, T, J) of each view, projected encoder outputs.
        lm: (B, U + 1, J), projected predictor outputs.
        ranges: (B, T, S), of all views.
        boundary: (B, 4) int64 rows (0, 0, U, T).
    """

    am: list[Tensor]
    lm: Tensor
    ranges: Tensor
    boundary: Tensor


def transducer_losses(
    encoder_out: Tensor,
    lengths: Tensor,
    predictor_out: Tensor,
    tokens: Tensor,
    token_lens: Tensor,
    simple_am_proj: Callable[[Tensor], Tensor],
    simple_lm_proj: Callable[[Tensor], Tensor],
    joiner: JoinerProjections,
    **options: Unpack[Options],
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
        options: As in ``shared_transducer_losses``.

    Returns:
        The simple and the pruned loss, two scalars or (B,) of each utterance; +inf where tokens and
        frames cannot be aligned.

    Raises:
        ValueError: If the backend is unknown or shapes do not fit.
        ImportError: If the backend is not installed.
    """
    heads = simple_am_proj, simple_lm_proj, joiner
    (found,), _ = shared_transducer_losses(
        [encoder_out], lengths, predictor_out, tokens, token_lens, *heads, **options
    )
    return found


def shared_transducer_losses(
    encoder_outs: Sequence[Tensor],
    lengths: Tensor,
    predictor_out: Tensor,
    tokens: Tensor,
    token_lens: Tensor,
    simple_am_proj: Callable[[Tensor], Tensor],
    simple_lm_proj: Callable[[Tensor], Tensor],
    joiner: JoinerProjections,
    prune_range: int = 5,
    lm_scale: float = 0.25,
    am_scale: float = 0.0,
    rnnt_type: RnntType = "regular",
    backend: Backend = "torch",
    blank: int = 0,
    reduction: Reduction = "none",
    emission: Emission = PLAIN,
) -> tuple[list[tuple[Tensor, Tensor]], SharedLattice]:
    """The same for several views of a batch that are pruned alike, so that their lattices align.

    The tokens kept are those that alignments most likely pass in all views taken together.

    Args:
        encoder_outs: (B, T, D) of each view.
        lengths: This and the following as in ``transducer_losses``.
        prune_range: Tokens kept at each frame, at least 2.
        lm_scale: As in ``smoothed_transducer_loss``.
        am_scale: As in ``smoothed_transducer_loss``.
        rnnt_type: As in ``smoothed_transducer_loss``.
        backend: ``torch`` or ``k2``.
        blank: Id of the blank.
        reduction: As in ``smoothed_transducer_loss``; ``sum`` and ``mean`` need much less memory.
        emission: What favours early tokens; k2 knows the delay penalty only.

    Returns:
        Simple and pruned loss of each view, and the lattice that they share.

    Raises:
        As ``transducer_losses``.
    """
    losses = transducer_backend(backend)
    zeros = torch.zeros_like(lengths)
    boundary = torch.stack([zeros, zeros, token_lens.to(lengths), lengths], dim=1).long()
    options: LossOptions = {
        "blank": blank,
        "rnnt_type": rnnt_type,
        "reduction": reduction,
        "emission": emission,
    }
    # 1. The simple loss of each view, and what of the lattice it passes
    simple_lm = simple_lm_proj(predictor_out)
    simple, px_grads, py_grads = [], [], []
    for simple_am in map(simple_am_proj, encoder_outs):
        with torch.autocast(simple_am.device.type, enabled=False):
            loss, (px_grad, py_grad) = losses.smoothed_transducer_loss(
                simple_am,
                simple_lm,
                tokens,
                boundary,
                lm_scale=lm_scale,
                am_scale=am_scale,
                return_grad=True,
                **options,
            )
        simple.append(loss)
        px_grads.append(px_grad)
        py_grads.append(py_grad)
    occupied = reduce(torch.add, px_grads), reduce(torch.add, py_grads)
    ranges = losses.prune_ranges(*occupied, boundary, prune_range)
    # 2. The joiner on what is kept of it
    am = [joiner.encoder_proj(encoder_out) for encoder_out in encoder_outs]
    lm, output = joiner.decoder_proj(predictor_out), joiner.output_linear
    pruned = [
        losses.pruned_joiner_loss(view, lm, output, tokens, ranges, boundary, **options)
        for view in am
    ]
    return list(zip(simple, pruned, strict=True)), SharedLattice(am, lm, ranges, boundary)
