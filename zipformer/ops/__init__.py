"""Operations with more than one implementation; the only place that knows about backends.

Every operation has a plain PyTorch reference. Which one runs is decided once, from the environment
variable ``ZIPFORMER_OPS`` (``reference`` or ``fused``), and can be forced for a block of code::

    with ops.use("reference"):
        ...
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

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
    """SwooshL, elementwise; for modules that should mostly be off."""
    return _choose()(x, *_swoosh.LEFT)


def swoosh_r(x: Tensor) -> Tensor:
    """SwooshR, elementwise."""
    return _choose()(x, *_swoosh.RIGHT)


def _choose():  # noqa: ANN202
    return _swoosh.swoosh_fused if backend() == "fused" else _swoosh.swoosh_reference


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"ops backend {name!r} is unknown; choose one of {', '.join(BACKENDS)}")
    return name
