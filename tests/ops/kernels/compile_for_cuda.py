"""Compiles the kernels for an NVIDIA GPU, whether there is one or not, and prints their names.

The interpreter accepts much that the compiler does not: a variable whose type changes in a loop, a
Python value where a constant must be. The functions run as usual, but no kernel is launched.
"""

from __future__ import annotations

from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from zipformer.ops import kernels

CAPABILITY = 80  # the oldest that has bfloat16


class AbsentGpu:
    """What the compiler asks about the GPU."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", CAPABILITY, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_only(kernel: JITFunction, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
    compiled = run(kernel, *args, grid=grid, warmup=True, **options)
    assert compiled.asm["cubin"]
    print(kernel.__module__.rsplit(".", 1)[1], kernel.fn.__name__)


def transducer() -> None:
    """The lattice and the joiner, with band and vocabulary of usual sizes."""
    for rows in (5, 3000):  # in one warp, and with shared memory
        py, boundary = torch.zeros(2, rows, 7), torch.zeros(2, 4, dtype=torch.int64)
        for regular in (True, False):
            kernels.lattice(torch.zeros(2, rows - 1, 7), py, boundary, regular)
    begin = torch.zeros(2, 7, dtype=torch.int64)
    am, lm = torch.zeros(2, 7, 512).bfloat16(), torch.zeros(2, 9, 512).bfloat16()
    hidden = kernels.join(am, lm, begin, 5)
    kernels.unjoin(hidden, hidden, begin, torch.zeros(2, 9, 512))
    for vocab_size in (500, 5000):
        logits, ids = torch.zeros(70, vocab_size).bfloat16(), torch.zeros(70, dtype=torch.int64)
        token, no_token, normalizer = kernels.arc_log_probs(logits, ids, 0)
        kernels.arc_gradient_(logits, normalizer, ids, 0, token, no_token)


def encoder() -> None:
    """What works on frames."""
    x, channels = torch.zeros(120, 384).bfloat16(), torch.zeros(384)
    kernels.swoosh(x, 1.0, 0.3, 0.08)
    kernels.swoosh_backward(x, x, 1.0, 0.08)
    _, inverse_rms = kernels.bias_norm(x, channels, torch.ones(()))
    kernels.bias_norm_backward(x, x, channels, torch.ones(()), inverse_rms)
    kernels.channel_moments(x, None)
    kernels.channel_moments(x, torch.ones(120, dtype=torch.bool))
    kernels.balance(x, x, channels, channels)


if __name__ == "__main__":
    run = JITFunction.run
    JITFunction.run = compile_only
    driver.set_active(AbsentGpu())
    transducer()
    encoder()
