"""The two passes over the activations that a Balancer makes when it acts.

Letters: M positions, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def channel_moments(x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and mean square (C,) of (M, C) over the positions that are valid (M,), in float32."""
    x = x.float()
    if valid is None:
        return x.mean(dim=0), torch.linalg.vector_norm(x, dim=0).square() / max(x.shape[0], 1)
    weight = valid.float()
    weight = weight / weight.sum().clamp(min=1.0)
    return weight @ x, weight @ x.square()  # the fastest weighted sums


def balance(grad: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """grad + |grad| (a + b x), with a and b by channel (C,)."""
    push = torch.addcmul(a.to(x.dtype), x, b.to(x.dtype))
    return torch.addcmul(grad, grad.abs(), push.to(grad.dtype))
