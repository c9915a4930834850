"""Whose transducer losses: those of this package, or of k2 where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor

from zipformer.losses import joined, k2_losses, pruned, smoothed
from zipformer.losses.checks import Backend


@dataclass(frozen=True)
class TransducerBackend:
    """The functions, with the arguments that they have in ``zipformer.losses``."""

    smoothed_transducer_loss: Callable[..., Any]  # with ``return_grad`` it returns more
    prune_ranges: Callable[[Tensor, Tensor, Tensor, int], Tensor]
    prune: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    pruned_transducer_loss: Callable[..., Tensor]
    pruned_joiner_loss: Callable[..., Tensor]


OURS = TransducerBackend(
    smoothed.smoothed_transducer_loss,
    pruned.prune_ranges,
    pruned.prune,
    pruned.pruned_transducer_loss,
    joined.pruned_joiner_loss,
)
K2 = TransducerBackend(
    k2_losses.smoothed_transducer_loss,
    k2_losses.prune_ranges,
    k2_losses.prune,
    k2_losses.pruned_transducer_loss,
    k2_losses.pruned_joiner_loss,
)


def transducer_backend(name: Backend) -> TransducerBackend:
    """The transducer losses of one backend.

    Args:
        name: ``torch``, which needs nothing, or ``k2``.

    Raises:
        ValueError: If there is no such backend.
        ImportError: If k2 is asked for and cannot be imported; it says what to do.
    """
    if name == "torch":
        return OURS
    if name == "k2":
        k2_losses.load_k2()
        return K2
    raise ValueError(f"loss.backend {name!r}: choose one of {', '.join(get_args(Backend))}")
