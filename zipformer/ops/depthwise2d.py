"""Depthwise convolution of images, channels last.

Letters: N batch, C channels, H time, W frequency, k taps of the kernel along W.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from zipformer.ops.autograd import FunctionCtx

NARROW = 3  # widest kernel whose weight gradient oneDNN computes without wasting channels


def depthwise2d_reference(x: Tensor, weight: Tensor) -> Tensor:
    """Torch's convolution."""
    return F.conv2d(x, weight, padding=(0, weight.shape[3] // 2), groups=x.shape[1])


class _Depthwise2d(torch.autograd.Function):
    """Takes the gradient of a wide kernel in narrow slices, in a third of the time on a CPU."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return depthwise2d_reference(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        taps = weight.shape[3]
        margin = taps // 2
        x_grad = None
        if ctx.needs_input_grad[0]:
            x_grad, _, _ = _backward(grad, x, weight, margin, (True, False, False))
        padded = F.pad(x, (margin, margin))
        slices = []
        for first in range(0, taps, NARROW):
            kernel = weight[..., first : first + NARROW].contiguous()
            seen = padded[..., first : first + grad.shape[3] + kernel.shape[3] - 1]
            seen = seen.contiguous(memory_format=torch.channels_last)
            slices.append(_backward(grad, seen, kernel, 0, (False, True, False))[1])
        return x_grad, torch.cat(slices, dim=3)


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, padding: int, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    groups = x.shape[1]
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        [1, 1],
        [0, padding],
        [1, 1],
        False,
        [0, 0],
        groups,
        wanted,
    )
    return found


def depthwise2d_fused(x: Tensor, weight: Tensor) -> Tensor:
    """The same, with the gradient in slices on a CPU."""
    if x.device.type != "cpu" or weight.shape[3] <= NARROW or not torch.is_grad_enabled():
        return depthwise2d_reference(x, weight)
    if torch.is_autocast_enabled("cpu"):  # it casts torch's own functions, and not this one
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    y: Tensor = _Depthwise2d.apply(x, weight)
    return y
