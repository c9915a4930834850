"""Forward-backward over a transducer lattice, one program for each utterance.

The lattice has T + 1 frames and R = U + 1 rows of nodes. From node (t, r) one arc consumes frame t
and stays in row r (``py``), another emits token r and enters row r + 1 (``px``): within the frame
in the regular type, towards the next frame otherwise. So every arc goes from step n to step n + 1,
where a node's step is t + r in the regular type and t otherwise.

A program keeps the scores of all rows at one step in registers and walks step by step, to the end
of its own utterance and no further; neighbouring rows meet in ``tl.gather``, for which the
compiler goes through shared memory with the barriers that takes. The arcs of the next step are
loaded before the current one is done: only the scores wait for each other, not the memory.

Letters: B batch, U tokens, R = U + 1 rows, T frames, N steps.
"""

from __future__ import annotations

import sys

import torch
import triton
import triton.language as tl
from torch import Tensor

_NEVER = tl.constexpr(float("-inf"))
# Triton 3.3, which comes with torch 2.7, makes code of a gather that grows with the square of the
# rows: 2048 take a minute to compile, 4096 gigabytes. From 3.4 on it hardly grows.
_OLD_GATHER = tuple(map(int, triton.__version__.split(".")[:2])) < (3, 4)
MOST_ROWS = 1024 if _OLD_GATHER else sys.maxsize  # for which `lattice` is of use


def lattice(
    px: Tensor, py: Tensor, boundary: Tensor, regular: bool | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of all alignments together, and how likely each arc is.

    Sums in float64: an occupation is a small difference of large sums.

    Args:
        px: (B, U, T + 1) or (B, U, T), log-probabilities of tokens.
        py: (B, U + 1, T), log-probabilities of blanks.
        boundary: (B, 4) int64 rows (0, 0, U, T) of each utterance's own sizes; arcs beyond them
            may hold anything.
        regular: Whether tokens stay in their frame; by default, whether ``px`` has T + 1 columns.
            Nothing is emitted after the last frame, so T columns are enough for either type.

    Returns:
        (B,) log-probabilities, and the probabilities that an alignment passes an arc, shaped like
        ``px`` and ``py``; -inf and zeros where there is no alignment.
    """
    batch, rows, frames = py.shape
    if regular is None:
        regular = px.shape[2] == frames + 1
    steps = frames + rows - 1 if regular else frames
    boundary = boundary.contiguous()
    total = torch.empty(batch, dtype=torch.float64, device=py.device)
    alpha = torch.empty(batch, steps, rows, dtype=torch.float64, device=py.device)
    px_occupied, py_occupied = torch.zeros_like(px), torch.zeros_like(py)

    block = max(triton.next_power_of_2(rows), 32)
    num_warps = min(block // 32, 16)
    sizes = batch, steps, rows, frames
    with torch.cuda.device_of(py):
        _forward_kernel[(batch,)](
            px,
            px.stride(),
            py,
            py.stride(),
            boundary,
            alpha,
            total,
            sizes,
            REGULAR=regular,
            BLOCK=block,
            num_warps=num_warps,
        )
        _backward_kernel[(batch,)](
            px,
            px.stride(),
            py,
            py.stride(),
            px_occupied,
            px_occupied.stride(),
            py_occupied,
            py_occupied.stride(),
            sizes,
            boundary,
            alpha,
            total,
            REGULAR=regular,
            BLOCK=block,
            num_warps=num_warps,
        )
    return total.to(py.dtype), px_occupied, py_occupied


@triton.jit
def _forward_kernel(
    px: tl.tensor,
    px_strides: tl.tuple,
    py: tl.tensor,
    py_strides: tl.tuple,
    boundary: tl.tensor,
    alpha: tl.tensor,
    total: tl.tensor,
    sizes: tl.tuple,
    REGULAR: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Scores of reaching each node, (B, N, R), and the end, (B,)."""
    utterance = tl.program_id(0).to(tl.int64)
    num_tokens, num_frames, num_steps = _own_sizes(boundary, utterance, sizes, REGULAR)
    px += utterance * px_strides[0]
    py += utterance * py_strides[0]
    alpha += utterance * sizes[1] * sizes[2]
    row = tl.arange(0, BLOCK)
    below = tl.maximum(row - 1, 0)

    score = tl.where(row == 0, 0.0, _NEVER).to(tl.float64)
    emits, stays = _leaving(0, row, px, px_strides, py, py_strides, num_tokens, num_frames, REGULAR)
    for step in range(num_steps):
        tl.store(alpha + step * sizes[2] + row, score, mask=row < sizes[2])
        next_emits, next_stays = _leaving(
            step + 1, row, px, px_strides, py, py_strides, num_tokens, num_frames, REGULAR
        )
        entering = tl.where(row > 0, tl.gather(score + emits, below, 0), _NEVER)
        score = _log_add(entering, score + stays)
        emits, stays = next_emits, next_stays
    tl.store(total + utterance, tl.sum(tl.where(row == num_tokens, score, 0.0), axis=0))


@triton.jit
def _backward_kernel(
    px: tl.tensor,
    px_strides: tl.tuple,
    py: tl.tensor,
    py_strides: tl.tuple,
    px_occupied: tl.tensor,
    px_occupied_strides: tl.tuple,
    py_occupied: tl.tensor,
    py_occupied_strides: tl.tuple,
    sizes: tl.tuple,
    boundary: tl.tensor,
    alpha: tl.tensor,
    total: tl.tensor,
    REGULAR: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Walks back from the end and writes how likely each arc is on the way."""
    utterance = tl.program_id(0).to(tl.int64)
    num_tokens, num_frames, num_steps = _own_sizes(boundary, utterance, sizes, REGULAR)
    px += utterance * px_strides[0]
    py += utterance * py_strides[0]
    px_occupied += utterance * px_occupied_strides[0]
    py_occupied += utterance * py_occupied_strides[0]
    alpha += utterance * sizes[1] * sizes[2]
    row = tl.arange(0, BLOCK)
    wide_row = row.to(tl.int64)
    above = tl.minimum(row + 1, BLOCK - 1)
    log_prob = tl.load(total + utterance)
    log_prob = tl.where(log_prob == _NEVER, 0.0, log_prob)

    score = tl.where(row == num_tokens, 0.0, _NEVER).to(tl.float64)
    emits, stays = _leaving(
        num_steps - 1, row, px, px_strides, py, py_strides, num_tokens, num_frames, REGULAR
    )
    for steps_behind in range(num_steps):
        step = num_steps - 1 - steps_behind
        next_emits, next_stays = _leaving(
            step - 1, row, px, px_strides, py, py_strides, num_tokens, num_frames, REGULAR
        )
        reached = tl.load(alpha + step * sizes[2] + row, mask=row < sizes[2], other=_NEVER)
        reached -= log_prob
        emits += tl.gather(score, above, 0)  # no token leaves the last row, which is its own above
        stays += score
        frame, has_token, has_blank = _arcs(step, row, num_tokens, num_frames, REGULAR)
        to = wide_row * px_occupied_strides[1] + frame * px_occupied_strides[2]
        tl.store(px_occupied + to, tl.exp(reached + emits), mask=has_token)
        to = wide_row * py_occupied_strides[1] + frame * py_occupied_strides[2]
        tl.store(py_occupied + to, tl.exp(reached + stays), mask=has_blank)
        score = _log_add(emits, stays)
        emits, stays = next_emits, next_stays


@triton.jit
def _own_sizes(
    boundary: tl.tensor, utterance: tl.tensor, sizes: tl.tuple, REGULAR: tl.constexpr
) -> tl.tuple:
    """U, T and N of an utterance, never larger than what there is memory for."""
    num_tokens = tl.load(boundary + utterance * 4 + 2).to(tl.int32)
    num_frames = tl.load(boundary + utterance * 4 + 3).to(tl.int32)
    num_tokens = tl.minimum(num_tokens, sizes[2] - 1)
    num_frames = tl.minimum(num_frames, sizes[3])
    num_steps = num_frames
    if REGULAR:
        num_steps += num_tokens
    return num_tokens, num_frames, num_steps


@triton.jit
def _arcs(
    step: tl.tensor,
    row: tl.tensor,
    num_tokens: tl.tensor,
    num_frames: tl.tensor,
    REGULAR: tl.constexpr,
) -> tl.tuple:
    """The frame of each row's node at a step, and whether a token and a blank leave it."""
    frame = tl.zeros_like(row).to(tl.int64) + step
    if REGULAR:
        frame -= row
    in_time = (frame >= 0) & (frame < num_frames)
    return frame, in_time & (row < num_tokens), in_time & (row <= num_tokens)


@triton.jit
def _leaving(
    step: tl.tensor,
    row: tl.tensor,
    px: tl.tensor,
    px_strides: tl.tuple,
    py: tl.tensor,
    py_strides: tl.tuple,
    num_tokens: tl.tensor,
    num_frames: tl.tensor,
    REGULAR: tl.constexpr,
) -> tl.tuple:
    """Log-probabilities of the token and the blank that leave each row at a step."""
    frame, has_token, has_blank = _arcs(step, row, num_tokens, num_frames, REGULAR)
    wide_row = row.to(tl.int64)
    px += wide_row * px_strides[1] + frame * px_strides[2]
    py += wide_row * py_strides[1] + frame * py_strides[2]
    emits = tl.load(px, mask=has_token, other=_NEVER).to(tl.float64)
    stays = tl.load(py, mask=has_blank, other=_NEVER).to(tl.float64)
    return emits, stays


@triton.jit
def _log_add(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """log(exp(a) + exp(b)), also where both are -inf; a NaN stays one."""
    gap = tl.where(a == b, 0.0, tl.abs(a - b))
    return tl.maximum(a, b) + tl.log(1.0 + tl.exp(-gap))
