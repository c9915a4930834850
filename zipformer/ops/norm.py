"""BiasNorm in plain PyTorch."""

from __future__ import annotations

from torch import Tensor


def bias_norm(x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
    """x / rms(x - bias) * exp(log_scale) over the last axis."""
    inverse_rms = (x - bias).square().mean(-1, keepdim=True).rsqrt()
    return x * (inverse_rms * log_scale.exp())
