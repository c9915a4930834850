"""Linear layers whose initial weights are scaled down."""

from __future__ import annotations

import torch
from torch import nn


def scaled_linear(in_dim: int, out_dim: int, scale: float = 1.0, bias: bool = True) -> nn.Linear:
    """A linear layer that starts small.

    ScaledAdam changes a weight relative to its size, so the initial scale is a lasting choice: it
    sets how loud a branch speaks in its residual sum, and how fast it learns.

    Args:
        in_dim: Size of the last axis of the input.
        out_dim: Size of the last axis of the output.
        scale: Factor on torch's default initial weight; the bias is uniform in +-0.1 * scale.
        bias: Whether there is a bias.
    """
    layer = nn.Linear(in_dim, out_dim, bias=bias)
    with torch.no_grad():
        layer.weight.mul_(scale)
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -0.1 * scale, 0.1 * scale)
    return layer
