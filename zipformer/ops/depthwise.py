"""Depthwise convolution over frames, channels last.

Letters: N batch, T frames, D channels, k taps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.ops.autograd import FunctionCtx

SHORT = 32  # output frames up to which a banded matrix pays on a CPU


def depthwise_reference(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Torch's convolution, on an image of height 1 in channels-last memory."""
    image = x.transpose(1, 2).unsqueeze(2)  # (N, D, 1, T), a view
    y = F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, padding), groups=x.shape[-1])
    return y.squeeze(2).transpose(1, 2)


def depthwise_banded(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """The same as one product with a banded matrix per channel.

    On a CPU and many short windows this is several times faster, most of all backwards: the work
    goes to matrix products instead of a loop over taps.
    """
    frames = x.shape[1] + 2 * padding - weight.shape[-1] + 1
    band = _banded(weight.squeeze(1), frames)  # (D, T + 2 padding, frames)
    band = band[:, padding : padding + x.shape[1]]  # without rows that would meet padding
    # A batch of small products is fast in memory order only, backwards as well.
    y = torch.bmm(x.permute(2, 0, 1).contiguous(), band.contiguous())  # (D, N, frames)
    y = _ContiguousGradient.apply(y).permute(1, 2, 0)
    return y if bias is None else y + bias


class _ContiguousGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        return grad.contiguous()


def depthwise_fused(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Whichever of the two is faster for this shape and device."""
    short = x.shape[1] + 2 * padding - weight.shape[-1] + 1 <= SHORT
    run = depthwise_banded if short and x.device.type == "cpu" else depthwise_reference
    return run(x, weight, bias, padding)


def _banded(weight: Tensor, columns: int) -> Tensor:
    """(D, k) -> (D, columns + k - 1, columns); column j holds the taps from row j on."""
    rows = columns + weight.shape[1] - 1
    # Every column is the one before it, one row lower: write the taps and zeros again and again,
    # and read the same memory in lines that are one shorter.
    lines = F.pad(weight, (0, columns)).unsqueeze(1).expand(-1, columns, -1)
    flat = lines.flatten(1)[:, : columns * rows]
    return flat.unflatten(1, (columns, rows)).transpose(1, 2)
