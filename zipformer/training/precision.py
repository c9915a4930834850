"""Device and number format of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch


class Precision:
    """Device and number format of a run.

    Args:
        device: ``auto`` takes CUDA where there is one.
        precision: ``fp32``, or ``bf16`` / ``fp16`` for autocast with float32 weights; ``auto`` is
            float32 on a CPU, and on CUDA bfloat16 where the card knows it, else float16.
        local_rank: Which CUDA device to take.

    Raises:
        ValueError: If the machine cannot do what is asked for.
    """

    def __init__(
        self,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        local_rank: int = 0,
    ) -> None:
        has_cuda = torch.cuda.is_available()
        if device == "cuda" and not has_cuda:
            raise ValueError("train.device = cuda, but torch finds no CUDA device; use auto or cpu")
        on_cuda = device != "cpu" and has_cuda
        self.device = torch.device("cuda", local_rank) if on_cuda else torch.device("cpu")
        if precision == "auto":
            best = "bf16" if on_cuda and torch.cuda.is_bf16_supported() else "fp16"
            self.name = best if on_cuda else "fp32"
        else:
            self.name = str(precision)
        if self.name == "fp16" and not on_cuda:
            raise ValueError(
                "train.precision = fp16 needs a CUDA device; use fp32 or bf16 on a CPU"
            )
        # The losses are sums over a batch, so they are large: start without scaling them up.
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=1.0, growth_interval=500, enabled=self.name == "fp16"
        )

    def autocast(self) -> AbstractContextManager[None]:
        """The context to run forward passes in."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)
