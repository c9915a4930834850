"""Compiles the kernels for an NVIDIA GPU, whether there is one or not, and prints their names.

    python -m tests.ops.kernels.compile_for_cuda 80 float32 bfloat16

The interpreter accepts much that the compiler does not: a variable whose type changes in a loop, a
Python value where a constant must be. The functions run as usual, but no kernel is launched.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from zipformer.ops import kernels

run = JITFunction.run


class AbsentGpu:
    """What the compiler asks about the GPU; 80 is compute capability 8.0."""

    def __init__(self, capability: int) -> None:
        self._target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_only(kernel: JITFunction, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
    compiled = run(kernel, *args, grid=grid, warmup=True, **options)
    assert compiled.asm["cubin"]
    print(kernel.__module__.rsplit(".", 1)[1], kernel.fn.__name__)


def lattice(most_rows: int) -> None:
    """In one warp, and with shared memory."""
    for rows in (5, min(most_rows, kernels.MOST_ROWS)):
        py, boundary = torch.zeros(2, rows, 7), torch.zeros(2, 4, dtype=torch.int64)
        for regular in (True, False):
            kernels.lattice(torch.zeros(2, rows - 1, 7), py, boundary, regular)


def joiner(dtype: torch.dtype) -> None:
    """With a band and vocabularies of usual sizes."""
    begin = torch.zeros(2, 7, dtype=torch.int64)
    am, lm = torch.zeros(2, 7, 512, dtype=dtype), torch.zeros(2, 9, 512, dtype=dtype)
    hidden = kernels.join(am, lm, begin, 5)
    kernels.unjoin(hidden, hidden, begin, torch.zeros(2, 9, 512))
    for vocab_size in (500, 5000):
        logits, ids = torch.zeros(70, vocab_size, dtype=dtype), torch.zeros(70, dtype=torch.int64)
        token, no_token, normalizer = kernels.arc_log_probs(logits, ids, 0)
        kernels.arc_gradient_(logits, normalizer, ids, 0, token, no_token)


def encoder(dtype: torch.dtype) -> None:
    """What works on frames."""
    x, channels = torch.zeros(120, 384, dtype=dtype), torch.zeros(384)
    kernels.swoosh(x, 1.0, 0.3, 0.08)
    kernels.swoosh_backward(x, x, 1.0, 0.08)
    _, inverse_rms = kernels.bias_norm(x, channels, torch.ones(()))
    kernels.bias_norm_backward(x, x, channels, torch.ones(()), inverse_rms)
    kernels.channel_moments(x, None)
    kernels.channel_moments(x, torch.ones(120, dtype=torch.bool))
    kernels.balance(x, x, channels, channels)


def everything(dtypes: list[torch.dtype], most_rows: int) -> None:
    """Calls every kernel; sums over a lattice are float32 and float64 whatever the activations."""
    lattice(most_rows)
    for dtype in dtypes:
        joiner(dtype)
        encoder(dtype)


if __name__ == "__main__":
    JITFunction.run = compile_only
    driver.set_active(AbsentGpu(int(sys.argv[1])))
    everything([getattr(torch, name) for name in sys.argv[2:]], most_rows=3000)
