"""BiasNorm over the channels of each frame, and its gradients.

    y = x k exp(log_scale)        k = 1 / rms(x - bias), one number for each frame
    p = sum over C of grad x      q = p exp(log_scale) k^3 / C

    gradient by x          grad k exp(log_scale) - q (x - bias)
    gradient by bias       sum over frames of q (x - bias)
    gradient by log_scale  sum over frames of p k exp(log_scale)

See ``zipformer.nn.norm.BiasNorm``. Both passes hold whole frames in registers, so that ``x`` is
read once, in float32 whatever its type.

Letters: N frames, C channels, P programs that share the frames.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zipformer.ops.kernels.tiles import strips, tile

_MAX_STRIPS = 512


def bias_norm(x: Tensor, bias: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Normalises frames by their distance from the bias.

    Args:
        x: (..., C); C up to some thousands, which one program holds.
        bias: (C,).
        log_scale: Scalar.

    Returns:
        (..., C) in the type of ``x``, and 1 / rms(x - bias) as (N,) float32.
    """
    frames = x.reshape(-1, x.shape[-1]).contiguous()
    y = torch.empty_like(frames)
    inverse_rms = torch.empty(len(frames), dtype=torch.float32, device=x.device)
    rows, columns = tile(frames.shape[1], max_columns=None)
    with torch.cuda.device_of(x):
        _bias_norm_kernel[(triton.cdiv(len(frames), rows),)](
            frames,
            bias.contiguous(),
            log_scale,
            y,
            inverse_rms,
            *frames.shape,
            ROWS=rows,
            COLUMNS=columns,
            num_warps=_warps(columns),
        )
    return y.view(x.shape), inverse_rms


def bias_norm_backward(
    grad: Tensor, x: Tensor, bias: Tensor, log_scale: Tensor, inverse_rms: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by the input and the parameters.

    Args:
        grad: (..., C), by the result.
        x: (..., C), as it was given to ``bias_norm``.
        bias: (C,).
        log_scale: Scalar.
        inverse_rms: (N,), from ``bias_norm``.

    Returns:
        Gradients by ``x``, in its shape and type, by ``bias``, (C,) float32, and by
        ``log_scale``, a float32 scalar. The same inputs always give the same bits.
    """
    channels = x.shape[-1]
    frames, grad = x.reshape(-1, channels).contiguous(), grad.reshape(-1, channels).contiguous()
    rows, columns = tile(channels, max_columns=None)
    programs = strips(len(frames), rows, _MAX_STRIPS)
    x_grad = torch.empty_like(frames)
    bias_parts = torch.empty(programs, channels, dtype=torch.float32, device=x.device)
    scale_parts = torch.empty(programs, dtype=torch.float32, device=x.device)
    with torch.cuda.device_of(x):
        _bias_norm_backward_kernel[(programs,)](
            grad,
            frames,
            bias.contiguous(),
            log_scale,
            inverse_rms,
            x_grad,
            bias_parts,
            scale_parts,
            *frames.shape,
            ROWS=rows,
            COLUMNS=columns,
            num_warps=_warps(columns),
        )
    return x_grad.view(x.shape), bias_parts.sum(dim=0), scale_parts.sum()


def _warps(columns: int) -> int:
    return min(max(columns // 512, 4), 32)


@triton.jit
def _bias_norm_kernel(
    x: tl.tensor,
    bias: tl.tensor,
    log_scale: tl.tensor,
    y: tl.tensor,
    inverse_rms: tl.tensor,
    num_frames: tl.tensor,
    num_channels: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    frame = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, COLUMNS)[None, :]
    in_channels = channel < num_channels
    inside = (frame < num_frames)[:, None] & in_channels
    at = frame[:, None] * num_channels + channel
    scale = tl.exp(tl.load(log_scale).to(tl.float32))
    offset = tl.load(bias + channel, mask=in_channels, other=0.0).to(tl.float32)
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    distance = value - offset  # zero beyond the channels
    inverse = tl.rsqrt(tl.sum(distance * distance, axis=1) / num_channels)
    tl.store(inverse_rms + frame, inverse, mask=frame < num_frames)
    tl.store(y + at, value * (inverse * scale)[:, None], mask=inside)


@triton.jit
def _bias_norm_backward_kernel(
    grad: tl.tensor,
    x: tl.tensor,
    bias: tl.tensor,
    log_scale: tl.tensor,
    inverse_rms: tl.tensor,
    x_grad: tl.tensor,
    bias_parts: tl.tensor,
    scale_parts: tl.tensor,
    num_frames: tl.tensor,
    num_channels: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    program = tl.program_id(0)
    channel = tl.arange(0, COLUMNS)[None, :]
    in_channels = channel < num_channels
    scale = tl.exp(tl.load(log_scale).to(tl.float32))
    offset = tl.load(bias + channel, mask=in_channels, other=0.0).to(tl.float32)
    bias_sum = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    scale_sum = tl.zeros([ROWS], dtype=tl.float32)
    for first in range(program * ROWS, num_frames, tl.num_programs(0) * ROWS):
        frame = first + tl.arange(0, ROWS).to(tl.int64)
        inside = (frame < num_frames)[:, None] & in_channels
        at = frame[:, None] * num_channels + channel
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        incoming = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
        inverse = tl.load(inverse_rms + frame, mask=frame < num_frames, other=0.0)
        gain = inverse * scale
        along = tl.sum(incoming * value, axis=1) * gain
        pull = (along * inverse * inverse / num_channels)[:, None] * (value - offset)
        tl.store(x_grad + at, incoming * gain[:, None] - pull, mask=inside)
        bias_sum += pull
        scale_sum += along
    parts = bias_parts + program * num_channels + channel
    tl.store(parts, tl.sum(bias_sum, axis=0)[None, :], mask=in_channels)
    tl.store(scale_parts + program, tl.sum(scale_sum, axis=0))
