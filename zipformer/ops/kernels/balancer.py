"""The two passes over the activations that a Balancer makes when it acts.

See ``zipformer.nn.regularizers``. Both compute in float32 whatever the input's type.

Letters: M positions, C channels, P programs that share the positions.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zipformer.ops.kernels.tiles import strips, tile

_MAX_COLUMNS = 128
_MAX_STRIPS = 256


def channel_moments(x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and mean square of each channel over the valid positions, in one pass.

    Args:
        x: (M, C).
        valid: (M,) bool, True = valid; what ``x`` holds elsewhere is not looked at. None if all
            positions are.

    Returns:
        Twice (C,) float32; zeros where no position is valid. The same inputs always give the same
        bits.
    """
    num_positions, num_channels = x.shape
    rows, columns = tile(num_channels, _MAX_COLUMNS)
    programs = strips(num_positions, rows, _MAX_STRIPS)
    parts = torch.empty(2, programs, num_channels, dtype=torch.float32, device=x.device)
    mask = x if valid is None else valid.contiguous()  # some pointer; not read without HAS_MASK
    with torch.cuda.device_of(x):
        _moments_kernel[(programs, triton.cdiv(num_channels, columns))](
            x,
            x.stride(),
            mask,
            parts,
            *x.shape,
            HAS_MASK=valid is not None,
            ROWS=rows,
            COLUMNS=columns,
        )
    count = num_positions if valid is None else valid.sum().clamp(min=1)
    mean, square = parts.sum(dim=1) / count
    return mean, square


def balance(grad: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """grad + |grad| (a + b x).

    Args:
        grad: (..., C).
        x: (..., C).
        a: (C,).
        b: (C,).

    Returns:
        (..., C) in the type of ``grad``.
    """
    num_channels = x.shape[-1]
    flat_grad, flat_x = grad.reshape(-1, num_channels), x.reshape(-1, num_channels)
    balanced = torch.empty(flat_x.shape, dtype=grad.dtype, device=grad.device)
    rows, columns = tile(num_channels)
    grid = triton.cdiv(len(flat_x), rows), triton.cdiv(num_channels, columns)
    with torch.cuda.device_of(x):
        _balance_kernel[grid](
            flat_grad,
            flat_grad.stride(),
            flat_x,
            flat_x.stride(),
            a.float().contiguous(),
            b.float().contiguous(),
            balanced,
            *flat_x.shape,
            ROWS=rows,
            COLUMNS=columns,
        )
    return balanced.view(grad.shape)


@triton.jit
def _moments_kernel(
    x: tl.tensor,
    x_strides: tl.tuple,
    valid: tl.tensor,
    parts: tl.tensor,
    num_positions: tl.tensor,
    num_channels: tl.tensor,
    HAS_MASK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Sums of values and of squares by each program, (2, P, C)."""
    program = tl.program_id(0)
    channel = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    square = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    for first in range(program * ROWS, num_positions, tl.num_programs(0) * ROWS):
        position = first + tl.arange(0, ROWS).to(tl.int64)
        counts = position < num_positions
        if HAS_MASK:
            counts = tl.load(valid + position, mask=counts, other=0).to(tl.int1)
        at = position[:, None] * x_strides[0] + channel[None, :] * x_strides[1]
        inside = counts[:, None] & (channel < num_channels)[None, :]
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        total += value
        square += value * value
    parts += program * num_channels + channel
    tl.store(parts, tl.sum(total, axis=0), mask=channel < num_channels)
    parts += tl.num_programs(0) * num_channels
    tl.store(parts, tl.sum(square, axis=0), mask=channel < num_channels)


@triton.jit
def _balance_kernel(
    grad: tl.tensor,
    grad_strides: tl.tuple,
    x: tl.tensor,
    x_strides: tl.tuple,
    a: tl.tensor,
    b: tl.tensor,
    balanced: tl.tensor,
    num_positions: tl.tensor,
    num_channels: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    position = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    channel = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    constant = tl.load(a + channel, mask=channel < num_channels, other=0.0)[None, :]
    slope = tl.load(b + channel, mask=channel < num_channels, other=0.0)[None, :]
    channel = channel[None, :]
    inside = (position < num_positions) & (channel < num_channels)
    at = position * grad_strides[0] + channel * grad_strides[1]
    incoming = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
    at = position * x_strides[0] + channel * x_strides[1]
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    push = constant + slope * value
    at = position * num_channels + channel
    tl.store(balanced + at, incoming + tl.abs(incoming) * push, mask=inside)
