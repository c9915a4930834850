"""Who computes the transducer losses: this package, or k2 where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from zipformer.losses import joined, pruned, smoothed
from zipformer.losses.checks import Backend, Reduction, RnntType
from zipformer.losses.emission import PLAIN, Emission


@dataclass(frozen=True)
class TransducerBackend:
    """The functions, with the arguments that they have in ``zipformer.losses``."""

    smoothed_transducer_loss: Callable[..., Any]
    prune_ranges: Callable[[Tensor, Tensor, Tensor, int], Tensor]
    prune: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    pruned_transducer_loss: Callable[..., Tensor]
    pruned_joiner_loss: Callable[..., Tensor]


def transducer_backend(name: Backend) -> TransducerBackend:
    """The transducer losses of one backend.

    Args:
        name: ``torch``, which needs nothing, or ``k2``.

    Raises:
        ValueError: If there is no such backend.
        ImportError: If k2 is asked for and cannot be imported; it says what to do.
    """
    if name == "torch":
        return TransducerBackend(
            smoothed.smoothed_transducer_loss,
            pruned.prune_ranges,
            pruned.prune,
            pruned.pruned_transducer_loss,
            joined.pruned_joiner_loss,
        )
    if name == "k2":
        return _k2_backend()
    raise ValueError(f"loss.backend {name!r}: choose one of {', '.join(get_args(Backend))}")


def _k2_backend() -> TransducerBackend:
    try:
        k2 = importlib.import_module("k2")
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
        blank: int = 0,
        rnnt_type: RnntType = "regular",
        reduction: Reduction = "none",
        return_grad: bool = False,
        emission: Emission = PLAIN,
    ) -> Any:
        return k2.rnnt_loss_smoothed(
            lm=lm.float(),
            am=am.float(),
            symbols=symbols,
            termination_symbol=blank,
            lm_only_scale=lm_scale,
            am_only_scale=am_scale,
            boundary=boundary,
            rnnt_type=rnnt_type,
            reduction=reduction,
            return_grad=return_grad,
            delay_penalty=_delay_penalty(emission),
        )

    def prune_ranges(px_grad: Tensor, py_grad: Tensor, boundary: Tensor, s_range: int) -> Tensor:
        return k2.get_rnnt_prune_ranges(
            px_grad=px_grad, py_grad=py_grad, boundary=boundary, s_range=s_range
        )

    def prune(am: Tensor, lm: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
        return k2.do_rnnt_pruning(am=am, lm=lm, ranges=ranges)

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
        return k2.rnnt_loss_pruned(
            logits=logits.float(),
            symbols=symbols,
            ranges=ranges,
            termination_symbol=blank,
            boundary=boundary,
            rnnt_type=rnnt_type,
            reduction=reduction,
            delay_penalty=_delay_penalty(emission),
        )

    def pruned_joiner_loss(
        am: Tensor,
        lm: Tensor,
        output: nn.Linear,
        symbols: Tensor,
        ranges: Tensor,
        boundary: Tensor,
        blank: int = 0,
        rnnt_type: RnntType = "regular",
        reduction: Reduction = "none",
        emission: Emission = PLAIN,
    ) -> Tensor:
        am, lm = prune(am, lm, ranges)
        logits = output((am + lm).tanh())
        with torch.autocast(logits.device.type, enabled=False):
            return pruned_transducer_loss(
                logits, symbols, ranges, boundary, blank, rnnt_type, reduction, emission
            )

    return TransducerBackend(
        smoothed_transducer_loss, prune_ranges, prune, pruned_transducer_loss, pruned_joiner_loss
    )


def _delay_penalty(emission: Emission) -> float:
    if emission.fastemit != 0.0:
        raise ValueError(
            "loss.backend = 'k2' has no FastEmit: use loss.backend = 'torch', or loss.fastemit = 0 "
            "and loss.delay_penalty"
        )
    return emission.delay_penalty
