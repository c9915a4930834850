"""Who computes an operation: asked here, and nowhere else."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from zipformer.ops.first_launch import Finding, examine

P = ParamSpec("P")
R = TypeVar("R")

BACKENDS = ("fused", "triton", "reference")
_log = logging.getLogger(__name__)
_forced: list[str] = []
_default: str | None = None


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
        RuntimeError: If kernels were asked for and do not work on the device of ``x``.
    """
    if kernel is not None and not probe(x.device):
        return getattr(importlib.import_module("zipformer.ops.on_cuda"), kernel)
    if fused is None or backend() == "reference":
        return reference
    return fused


def probe(device: torch.device) -> str:
    """Why the Triton kernels are not used on a device; empty if they are.

    The first call for a CUDA device launches one of them there. If that goes wrong, one warning
    says why and what to do, and PyTorch code does the work from then on.

    Raises:
        ValueError: If kernels were asked for (backend ``triton``) where they do not run.
        RuntimeError: If kernels were asked for and do not work on the device.
    """
    name = backend()
    if name == "reference":
        return "the plain formulas were asked for"
    if device.type != "cuda":
        if name == "fused":
            return f"they need a CUDA device, not {device.type}"
        _refuse_unless_interpreted(device)
    elif device.index is None and torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
    finding = examine(device)
    if not finding.reason:
        return ""
    if name == "triton":
        raise RuntimeError(
            f"ops backend 'triton' was asked for, but kernels do not work on {device}: "
            f"{finding.reason}. {finding.advice or 'The error above says more.'} "
            "ZIPFORMER_OPS=fused does without them."
        ) from finding.error
    _warn(device, finding)
    return finding.reason


def _refuse_unless_interpreted(device: torch.device) -> None:
    if importlib.util.find_spec("triton") is None:
        return  # which `examine` says better
    if not importlib.import_module("zipformer.ops.on_cuda").INTERPRETED:
        raise ValueError(
            f"ops backend 'triton' was asked for, but a tensor is on {device}: it needs a CUDA "
            "device; set ZIPFORMER_OPS=fused, or TRITON_INTERPRET=1 to run the kernels slowly"
        )


@functools.cache
def _warn(device: torch.device, finding: Finding) -> None:
    """Says it once."""
    _log.warning(
        "triton kernels do not work on %s: %s. Slower PyTorch code is used instead. %s",
        device,
        finding.reason,
        finding.advice or "ZIPFORMER_OPS=triton shows the whole error.",
    )


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"ops backend {name!r} is unknown; choose one of {', '.join(BACKENDS)}")
    return name
