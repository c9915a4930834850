"""SwooshL and SwooshR, elementwise, in float32 whatever the input's type.

See ``zipformer.ops.swoosh`` for the formulas.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024


def swoosh(x: Tensor, shift: float, offset: float, slope: float) -> Tensor:
    """log(1 + exp(x - shift)) - slope x - offset, shaped like ``x``."""
    x = x.contiguous()
    y = torch.empty_like(x)
    count = x.numel()
    with torch.cuda.device_of(x):
        _swoosh_kernel[(triton.cdiv(count, _BLOCK),)](
            x, y, count, shift, offset, SLOPE=slope, BLOCK=_BLOCK
        )
    return y


def swoosh_backward(x: Tensor, grad: Tensor, shift: float, slope: float) -> Tensor:
    """The gradient by ``x``, shaped like it, from the gradient by the result."""
    x, grad = x.contiguous(), grad.contiguous()
    x_grad = torch.empty_like(x)
    count = x.numel()
    with torch.cuda.device_of(x):
        _swoosh_backward_kernel[(triton.cdiv(count, _BLOCK),)](
            x, grad, x_grad, count, shift, SLOPE=slope, BLOCK=_BLOCK
        )
    return x_grad


@triton.jit
def _swoosh_kernel(
    x: tl.tensor,
    y: tl.tensor,
    count: tl.tensor,
    shift: tl.tensor,
    offset: tl.tensor,
    SLOPE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count, other=0.0).to(tl.float32)
    shifted = value - shift
    softplus = tl.maximum(shifted, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(shifted)))
    tl.store(y + at, softplus - SLOPE * value - offset, mask=at < count)


@triton.jit
def _swoosh_backward_kernel(
    x: tl.tensor,
    grad: tl.tensor,
    x_grad: tl.tensor,
    count: tl.tensor,
    shift: tl.tensor,
    SLOPE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    incoming = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
    slope = tl.sigmoid(value - shift) - SLOPE
    tl.store(x_grad + at, slope * incoming, mask=inside)
