"""Who computes an operation: asked here, and nowhere else."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

BACKENDS = ("fused", "triton", "reference")
_log = logging.getLogger(__name__)
_forced: list[str] = []
_default: str | None = None
_has_triton: bool | None = None


def backend() -> str:
    """The backend in force.

    Raises:
        ValueError: If ``ZIPFORMER_OPS`` names no backend.
    """
    global _default
    if torch.compiler.is_compiling():  # the compiler makes the kernels
        return "reference"
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


def choose(
    x: Tensor,
    reference: Callable[P, R],
    fused: Callable[P, R] | None = None,
    kernel: str | None = None,
) -> Callable[P, R]:
    """The implementation that is to work on ``x``.

    Args:
        x: An input; its device counts.
        reference: Plain PyTorch.
        fused: Faster PyTorch code for the CPU, and for CUDA without a kernel; the reference if
            there is none.
        kernel: Name in ``zipformer.ops.on_cuda`` of one by Triton kernels, if there is one.

    Raises:
        ValueError: If kernels were asked for and ``x`` is where they do not run.
    """
    if kernel is not None and (kernels := _kernels(x)) is not None:
        return getattr(kernels, kernel)
    if fused is None or backend() == "reference":
        return reference
    return fused


def _kernels(x: Tensor) -> ModuleType | None:
    """The module of the kernels, if they are to work on ``x``."""
    global _has_triton
    name = backend()
    if name == "reference" or (name == "fused" and not x.is_cuda):
        return None
    if _has_triton is None:
        _has_triton = importlib.util.find_spec("triton") is not None
        _log.info("triton kernels: %s", "in use" if _has_triton else "triton is not installed")
    if not _has_triton and name == "fused":
        return None
    on_cuda = importlib.import_module("zipformer.ops.on_cuda")
    if not (x.is_cuda or on_cuda.INTERPRETED):
        raise ValueError(
            f"ops backend 'triton' was asked for, but a tensor is on {x.device}: it needs a CUDA "
            "device; set ZIPFORMER_OPS=fused, or TRITON_INTERPRET=1 to run the kernels slowly"
        )
    return on_cuda


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"ops backend {name!r} is unknown; choose one of {', '.join(BACKENDS)}")
    return name
