"""Operations with more than one implementation; the only place that knows about backends.

Every operation has a plain PyTorch reference. Which one runs is decided once, from the environment
variable ``ZIPFORMER_OPS`` (``reference`` or ``fused``), and can be forced for a block of code::

    with ops.use("reference"):
        ...
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from zipformer.ops import band as _band
from zipformer.ops import depthwise as _depthwise
from zipformer.ops import lattice as _lattice
from zipformer.ops import smoothed as _smoothed
from zipformer.ops import swoosh as _swoosh

BACKENDS = ("fused", "reference")
_log = logging.getLogger(__name__)
_forced: list[str] = []
_default: str | None = None


def backend() -> str:
    """The backend in force.

    Raises:
        ValueError: If ``ZIPFORMER_OPS`` names no backend.
    """
    global _default
    if _forced:
        return _forced[-1]
    if _default is None:
        _default = _known(os.environ.get("ZIPFORMER_OPS", BACKENDS[0]))
        _log.info("ops backend: %s", _default)
    return _default


@contextmanager
def use(name: str) -> Iterator[None]:
    """Forces a backend inside a ``with`` block.

    Raises:
        ValueError: If there is no such backend.
    """
    _forced.append(_known(name))
    try:
        yield
    finally:
        _forced.pop()


def swoosh_l(x: Tensor) -> Tensor:
    """SwooshL, elementwise; the activation of feed-forward modules."""
    return _swoosh_function()(x, *_swoosh.LEFT)


def swoosh_r(x: Tensor) -> Tensor:
    """SwooshR, elementwise; the activation of convolution modules."""
    return _swoosh_function()(x, *_swoosh.RIGHT)


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Depthwise convolution over frames, channels last.

    Args:
        x: (N, T, D).
        weight: (D, 1, k).
        bias: (D,) or None.
        padding: Frames of zeros on either side.

    Returns:
        (N, T + 2 padding - k + 1, D).
    """
    fused = backend() == "fused"
    run = _depthwise.depthwise_fused if fused else _depthwise.depthwise_reference
    return run(x, weight, bias, padding)


def smoothed_arcs(
    am: Tensor, lm: Tensor, symbols: Tensor, lm_scale: float, am_scale: float, blank: int
) -> tuple[Tensor, Tensor]:
    """Arc log-probabilities of the simple transducer lattice.

    Args:
        am: (B, T, V), encoder scores.
        lm: (B, U + 1, V), predictor scores.
        symbols: (B, U) int64.
        lm_scale: Weight of the predictor alone.
        am_scale: Weight of the encoder alone.
        blank: Id of the blank.

    Returns:
        Tokens (B, T, U) and blanks (B, T, U + 1).
    """
    fused = backend() == "fused"
    run = _smoothed.smoothed_fused if fused else _smoothed.smoothed_reference
    return run(am, lm, symbols, lm_scale, am_scale, blank)


def lattice(
    px: Tensor, py: Tensor, boundary: Tensor, regular: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of all alignments of a lattice, and how likely each arc is.

    Not differentiable: the probabilities are the gradient.

    Args:
        px: (B, T, U), log-probabilities of tokens.
        py: (B, T, U + 1), log-probabilities of blanks.
        boundary: (B, 4) int64 rows (0, 0, U, T); arcs beyond them may hold anything.
        regular: Whether tokens stay in their frame.

    Returns:
        (B,), and probabilities shaped like ``px`` and ``py``.
    """
    return _lattice.lattice(px, py, boundary, regular)


def band_lattice(
    token: Tensor, blank: Tensor, begin: Tensor, boundary: Tensor, regular: bool, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for alignments inside a band of the lattice.

    Args:
        token: (B, T, S), log-probabilities of the next token.
        blank: (B, T, S).
        begin: (B, T), first row kept in each frame, as from ``prune_ranges``.
        boundary: (B, 4) int64 rows (0, 0, U, T); arcs beyond them may hold anything.
        regular: Whether tokens stay in their frame.
        rows: U + 1.

    Returns:
        (B,), and probabilities (B, T, S) twice.
    """
    return _band.band_lattice(token, blank, begin, boundary, regular, rows)


def _swoosh_function() -> Callable[[Tensor, float, float], Tensor]:
    return _swoosh.swoosh_fused if backend() == "fused" else _swoosh.swoosh_reference


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"ops backend {name!r} is unknown; choose one of {', '.join(BACKENDS)}")
    return name
