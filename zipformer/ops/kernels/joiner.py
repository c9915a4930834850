"""The hidden layer of a pruned joiner, and the way back through it.

A cell is a pair of a frame and a row that is kept there. At each frame S neighbouring rows are
kept, from row ``begin`` on, which never decreases over the frames. Everything is computed in
float32 whatever the type of the inputs, which may have any strides.

Letters: B batch, T frames, U tokens, S rows kept at each frame, D channels.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zipformer.ops.kernels.tiles import tile

_FRAMES, _LM_COLUMNS = 8, 128  # the tile of a program that adds up over frames


def join(am: Tensor, lm: Tensor, begin: Tensor, num_kept: int) -> Tensor:
    """tanh(am + lm) of the cells that are kept.

    Args:
        am: (B, T, D), encoder side.
        lm: (B, U + 1, D), predictor side.
        begin: (B, T) int64, the first row that is kept at each frame, U + 1 - S at most.
        num_kept: S.

    Returns:
        (B, T, S, D) in the type of ``am``.
    """
    batch, frames, channels = am.shape
    hidden = am.new_empty(batch, frames, num_kept, channels)
    cells = batch * frames * num_kept
    rows, columns = tile(channels)
    with torch.cuda.device_of(am):
        _join_kernel[(triton.cdiv(cells, rows), triton.cdiv(channels, columns))](
            am,
            am.stride(),
            lm,
            lm.stride(),
            begin,
            begin.stride(),
            hidden,
            cells,
            frames,
            num_kept,
            channels,
            ROWS=rows,
            COLUMNS=columns,
        )
    return hidden


def unjoin(grad: Tensor, hidden: Tensor, begin: Tensor, lm_grad: Tensor) -> Tensor:
    """Brings the gradient by ``join``'s result back to its inputs.

    Every element of the results is summed by one program, always in the same order.

    Args:
        grad: (B, T, S, D), by ``hidden``.
        hidden: (B, T, S, D), from ``join``.
        begin: (B, T) int64, as it was given to ``join``; must never decrease over T.
        lm_grad: (B, U + 1, D) float32, to which the gradient by ``lm`` is added.

    Returns:
        (B, T, D) float32, the gradient by ``am``.
    """
    batch, frames, num_kept, channels = hidden.shape
    am_grad = torch.empty(batch, frames, channels, dtype=torch.float32, device=grad.device)
    rows, columns = tile(channels)
    _, lm_columns = tile(channels, _LM_COLUMNS)
    # The frames that keep row r are those with r - S < begin <= r: an interval.
    row = torch.arange(lm_grad.shape[1], device=begin.device).expand(batch, -1).contiguous()
    begin = begin.contiguous()
    first = torch.searchsorted(begin, row - num_kept, right=True)
    last = torch.searchsorted(begin, row, right=True)
    tensors = grad, grad.stride(), hidden, hidden.stride()
    with torch.cuda.device_of(grad):
        _unjoin_am_kernel[(triton.cdiv(batch * frames, rows), triton.cdiv(channels, columns))](
            *tensors,
            am_grad,
            batch * frames,
            frames,
            num_kept,
            channels,
            ROWS=rows,
            COLUMNS=columns,
        )
        _unjoin_lm_kernel[(row.numel(), triton.cdiv(channels, lm_columns))](
            *tensors,
            begin,
            first,
            last,
            lm_grad,
            lm_grad.stride(),
            row.shape[1],
            frames,
            channels,
            FRAMES=_FRAMES,
            COLUMNS=lm_columns,
        )
    return am_grad


@triton.jit
def _tanh(x: tl.tensor) -> tl.tensor:
    """To float32 precision, also relative to a small result."""
    size = tl.abs(x)
    decay = tl.exp(-2.0 * size)
    large = (1.0 - decay) / (1.0 + decay)
    # The difference above loses the digits of a small x; its Taylor series does not.
    square = x * x
    series = -17.0 / 315 + square * (62.0 / 2835)
    series = 1.0 + square * (-1.0 / 3 + square * (2.0 / 15 + square * series))
    return tl.where(size < 0.25, x * series, tl.where(x < 0, -large, large))


@triton.jit
def _join_kernel(
    am: tl.tensor,
    am_strides: tl.tuple,
    lm: tl.tensor,
    lm_strides: tl.tuple,
    begin: tl.tensor,
    begin_strides: tl.tuple,
    hidden: tl.tensor,
    num_cells: tl.tensor,
    num_frames: tl.tensor,
    num_kept: tl.tensor,
    num_channels: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    cell = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    in_cells = cell < num_cells
    at = cell // num_kept
    utterance, frame = (at // num_frames).to(tl.int64), (at % num_frames).to(tl.int64)
    first = begin + utterance * begin_strides[0] + frame * begin_strides[1]
    row = tl.load(first, mask=in_cells, other=0) + cell % num_kept
    channel = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    inside = in_cells[:, None] & (channel < num_channels)

    am += (utterance * am_strides[0] + frame * am_strides[1])[:, None] + channel * am_strides[2]
    lm += (utterance * lm_strides[0] + row * lm_strides[1])[:, None] + channel * lm_strides[2]
    total = tl.load(am, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(lm, mask=inside, other=0.0).to(tl.float32)
    tl.store(
        hidden + cell.to(tl.int64)[:, None] * num_channels + channel, _tanh(total), mask=inside
    )


@triton.jit
def _through_tanh(grad: tl.tensor, hidden: tl.tensor, inside: tl.tensor) -> tl.tensor:
    incoming = tl.load(grad, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(hidden, mask=inside, other=0.0).to(tl.float32)
    return incoming * (1.0 - value * value)


@triton.jit
def _unjoin_am_kernel(
    grad: tl.tensor,
    grad_strides: tl.tuple,
    hidden: tl.tensor,
    hidden_strides: tl.tuple,
    am_grad: tl.tensor,
    num_rows: tl.tensor,
    num_frames: tl.tensor,
    num_kept: tl.tensor,
    num_channels: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Sums over the rows that a frame keeps."""
    at = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    inside = (at < num_rows)[:, None] & (channel < num_channels)
    utterance, frame = (at // num_frames).to(tl.int64), (at % num_frames).to(tl.int64)
    grad += (utterance * grad_strides[0] + frame * grad_strides[1])[:, None]
    grad += channel * grad_strides[3]
    hidden += (utterance * hidden_strides[0] + frame * hidden_strides[1])[:, None]
    hidden += channel * hidden_strides[3]
    total = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    for kept in range(num_kept):
        total += _through_tanh(
            grad + kept * grad_strides[2], hidden + kept * hidden_strides[2], inside
        )
    tl.store(am_grad + at.to(tl.int64)[:, None] * num_channels + channel, total, mask=inside)


@triton.jit
def _unjoin_lm_kernel(
    grad: tl.tensor,
    grad_strides: tl.tuple,
    hidden: tl.tensor,
    hidden_strides: tl.tuple,
    begin: tl.tensor,
    first: tl.tensor,
    last: tl.tensor,
    lm_grad: tl.tensor,
    lm_grad_strides: tl.tuple,
    num_rows: tl.tensor,
    num_frames: tl.tensor,
    num_channels: tl.tensor,
    FRAMES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Sums over the frames that keep a row, from ``first`` to before ``last``."""
    program = tl.program_id(0)
    utterance, row = (program // num_rows).to(tl.int64), (program % num_rows).to(tl.int64)
    channel = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    in_channels = channel < num_channels
    begin += utterance * num_frames
    grad += utterance * grad_strides[0] + channel * grad_strides[3]
    hidden += utterance * hidden_strides[0] + channel * hidden_strides[3]
    start, end = tl.load(first + program).to(tl.int32), tl.load(last + program).to(tl.int32)
    total = tl.zeros([FRAMES, COLUMNS], dtype=tl.float32)
    for at in range(start, end, FRAMES):
        frame = at + tl.arange(0, FRAMES).to(tl.int64)
        kept = row - tl.load(begin + frame, mask=frame < end, other=0)
        inside = (frame < end)[:, None] & in_channels
        total += _through_tanh(
            grad + (frame * grad_strides[1] + kept * grad_strides[2])[:, None],
            hidden + (frame * hidden_strides[1] + kept * hidden_strides[2])[:, None],
            inside,
        )
    lm_grad += utterance * lm_grad_strides[0] + row * lm_grad_strides[1]
    lm_grad += channel * lm_grad_strides[2]
    before = tl.load(lm_grad, mask=in_channels, other=0.0)
    tl.store(lm_grad, before + tl.sum(total, axis=0)[None, :], mask=in_channels)
