"""Whether Triton kernels work on a device: one is launched there, and its numbers are looked at.

A kernel is compiled when it is first launched, on the user's machine, and that needs more than a
GPU: Triton's own compiler, ptxas, and a C compiler with Python's headers for the code that launches
it. What is missing is better known before the first training step than in the middle of it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from zipformer.ops.moments import channel_moments

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What the first launch on a device has shown."""

    reason: str = ""  # why kernels do not work there; empty if they do
    advice: str = ""  # a sentence; empty if the reason alone must do
    error: Exception | None = None  # what was raised, with its traceback


@functools.cache
def examine(device: torch.device) -> Finding:
    """Launches a small kernel, compares its result with the reference, and remembers what it saw.

    The launch has a thread of its own: autocast, inference mode and tensors without data (a
    ``FakeTensorMode``) belong to the thread that asks, and must not decide for the whole process.

    Raises:
        torch.OutOfMemoryError: If the device has no memory left, which says nothing of kernels.
    """
    if importlib.util.find_spec("triton") is None:
        return Finding("triton is not installed", "Install triton (torch for CUDA on Linux does).")
    try:
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(_launch, device).result()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of Triton, of the tools that it calls, or of the driver
        return _explained(error)
    _log.info("triton kernels: in use on %s", device)
    return Finding()


def _launch(device: torch.device) -> None:
    """A kernel with what the others have too: strides in tuples, and sums within a block."""
    kernels = importlib.import_module("zipformer.ops.kernels")
    x = torch.linspace(-2.0, 3.0, 35).view(5, 7)
    for found, wanted in zip(
        kernels.channel_moments(x.to(device), None), channel_moments(x, None), strict=True
    ):
        if not torch.allclose(found.cpu(), wanted, rtol=1e-4, atol=1e-5):
            raise ArithmeticError(f"a kernel gave {found.tolist()}, and not {wanted.tolist()}")


def _explained(error: Exception) -> Finding:
    """The cause in words, for the two that are usual where a GPU has just been set up."""
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    if "C compiler" in said:
        advice = "Install gcc, or name another compiler in the environment variable CC."
        return Finding(f"no C compiler was found ({said})", advice, error)
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if isinstance(error, subprocess.CalledProcessError) and not header.exists():
        advice = "Install the headers of this Python (python3-dev or python3-devel)."
        return Finding(f"the C header {header} is missing ({said})", advice, error)
    return Finding(said, "", error)
