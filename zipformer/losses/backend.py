"""Who computes the transducer losses: this package, or k2 where it is installed."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from zipformer.losses import pruned, smoothed

BACKENDS = ("torch", "k2")


def transducer_backend(name: str) -> SimpleNamespace:
    """The four functions of the transducer losses.

    Args:
        name: ``torch`` or ``k2``.

    Returns:
        A namespace with ``smoothed_transducer_loss``, ``prune_ranges``, ``prune`` and
        ``pruned_transducer_loss``.

    Raises:
        ValueError: If there is no such backend.
        ImportError: If k2 is asked for and not installed.
    """
    if name == "torch":
        return SimpleNamespace(
            smoothed_transducer_loss=smoothed.smoothed_transducer_loss,
            prune_ranges=pruned.prune_ranges,
            prune=pruned.prune,
            pruned_transducer_loss=pruned.pruned_transducer_loss,
        )
    if name == "k2":
        return _k2_functions()
    raise ValueError(f"loss.backend {name!r}: choose one of {', '.join(BACKENDS)}")


def _k2_functions() -> SimpleNamespace:
    try:
        k2 = importlib.import_module("k2")
    except ImportError as error:
        raise ImportError(
            f"loss.backend = 'k2', but k2 cannot be imported ({error}). Install the build that "
            "matches your torch and CUDA versions (see k2's installation page), or set "
            "loss.backend = 'torch', which needs nothing."
        ) from error

    def smoothed_transducer_loss(
        am: Tensor, lm: Tensor, symbols: Tensor, boundary: Tensor, blank: int = 0, **options: Any
    ) -> Any:
        scales = {f"{n}_only_scale": options.pop(f"{n}_scale") for n in ("lm", "am")}
        options.setdefault("reduction", "none")
        return k2.rnnt_loss_smoothed(
            lm=lm,
            am=am,
            symbols=symbols,
            termination_symbol=blank,
            boundary=boundary,
            **scales,
            **options,
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
        **options: Any,
    ) -> Tensor:
        options.setdefault("reduction", "none")
        return k2.rnnt_loss_pruned(
            logits=logits,
            symbols=symbols,
            ranges=ranges,
            termination_symbol=blank,
            boundary=boundary,
            **options,
        )

    return SimpleNamespace(
        smoothed_transducer_loss=smoothed_transducer_loss,
        prune_ranges=prune_ranges,
        prune=prune,
        pruned_transducer_loss=pruned_transducer_loss,
    )
