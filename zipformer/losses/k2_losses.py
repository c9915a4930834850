"""The transducer losses of k2, with the names and arguments that they have in this package."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Unpack

import torch
from torch import Tensor

from zipformer.losses.options import DEFAULTS, LossOptions


def load_k2() -> ModuleType:
    """The module ``k2``.

    Raises:
        ImportError: If it cannot be imported; it says what to do.
    """
    try:
        return importlib.import_module("k2")
    except (ImportError, OSError) as error:  # OSError: built for another torch or CUDA
        raise ImportError(
            f"loss.backend = 'k2', but k2 cannot be imported ({error}). Install the build of k2 "
            "that matches your torch and CUDA versions (k2's installation page lists them; "
            "`pip install k2` takes the newest), or set loss.backend = 'torch', which needs "
            "nothing."
        ) from error


def smoothed_transducer_loss(
    am: Tensor,
    lm: Tensor,
    symbols: Tensor,
    boundary: Tensor,
    lm_scale: float,
    am_scale: float,
    return_grad: bool = False,
    **options: Unpack[LossOptions],
) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
    """As ``zipformer.losses.smoothed_transducer_loss``."""
    found: Tensor | tuple[Tensor, tuple[Tensor, Tensor]] = load_k2().rnnt_loss_smoothed(
        lm=lm.float(),
        am=am.float(),
        symbols=symbols,
        boundary=boundary,
        lm_only_scale=lm_scale,
        am_only_scale=am_scale,
        return_grad=return_grad,
        **_as_k2_names_them(options),
    )
    return found


def prune_ranges(px_grad: Tensor, py_grad: Tensor, boundary: Tensor, s_range: int) -> Tensor:
    """As ``zipformer.losses.prune_ranges``."""
    found: Tensor = load_k2().get_rnnt_prune_ranges(
        px_grad=px_grad, py_grad=py_grad, boundary=boundary, s_range=s_range
    )
    return found


def prune(am: Tensor, lm: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """As ``zipformer.losses.prune``."""
    am_kept, lm_kept = load_k2().do_rnnt_pruning(am=am, lm=lm, ranges=ranges)
    return am_kept, lm_kept


def pruned_transducer_loss(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    **options: Unpack[LossOptions],
) -> Tensor:
    """As ``zipformer.losses.pruned_transducer_loss``."""
    loss: Tensor = load_k2().rnnt_loss_pruned(
        logits=logits.float(),
        symbols=symbols,
        ranges=ranges,
        boundary=boundary,
        **_as_k2_names_them(options),
    )
    return loss


def pruned_joiner_loss(
    am: Tensor,
    lm: Tensor,
    output: torch.nn.Linear,
    symbols: Tensor,
    ranges: Tensor,
    boundary: Tensor,
    **options: Unpack[LossOptions],
) -> Tensor:
    """As ``zipformer.losses.pruned_joiner_loss``, with all logits at once."""
    am, lm = prune(am, lm, ranges)
    logits = output((am + lm).tanh())
    with torch.autocast(logits.device.type, enabled=False):
        return pruned_transducer_loss(logits, symbols, ranges, boundary, **options)


def _as_k2_names_them(options: LossOptions) -> dict[str, int | float | str]:
    """All options, defaults included.

    Raises:
        ValueError: If k2 lacks what is asked for.
    """
    given: LossOptions = {**DEFAULTS, **options}
    if given["emission"].fastemit != 0.0:
        raise ValueError(
            "loss.backend = 'k2' has no FastEmit: use loss.backend = 'torch', or loss.fastemit = 0 "
            "and loss.delay_penalty"
        )
    return {
        "termination_symbol": given["blank"],
        "rnnt_type": given["rnnt_type"],
        "reduction": given["reduction"],
        "delay_penalty": given["emission"].delay_penalty,
    }
