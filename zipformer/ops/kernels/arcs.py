"""Log-probabilities of the two arcs that leave a cell of a pruned transducer lattice.

The softmax of a cell is needed at two ids alone, its next token and the blank, so it is never
written: the logits are read once on the way forward, and on the way back they are overwritten by
their gradient. Everything is computed in float32 whatever the type of the logits. The
vocabulary's size is fixed when a kernel is compiled: a row of 500 logits is then known to start at
a multiple of four, and can be read in larger pieces.

Letters: N cells, V vocabulary.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zipformer.ops.kernels.tiles import tile

_NEVER = tl.constexpr(float("-inf"))


def arc_log_probs(logits: Tensor, next_token: Tensor, blank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log-softmax at two ids of every cell: its next token and the blank.

    Args:
        logits: (N, V).
        next_token: (N,) ids; one outside the vocabulary gives NaN.
        blank: Id of the blank.

    Returns:
        Three times (N,) float32: the log-probabilities of the token and of the blank, and the
        logarithm of the softmax's denominator; 0 for that where all logits are -inf.
    """
    num_cells, vocab_size = logits.shape
    logits = logits.contiguous()
    token, no_token, normalizer = torch.empty(
        3, num_cells, dtype=torch.float32, device=logits.device
    )
    rows, columns = tile(vocab_size)
    with torch.cuda.device_of(logits):
        _arc_log_probs_kernel[(triton.cdiv(num_cells, rows),)](
            logits,
            next_token.contiguous(),
            token,
            no_token,
            normalizer,
            num_cells,
            blank,
            VOCAB_SIZE=vocab_size,
            ROWS=rows,
            COLUMNS=columns,
        )
    return token, no_token, normalizer


def arc_gradient_(
    logits: Tensor,
    normalizer: Tensor,
    next_token: Tensor,
    blank: int,
    token_grad: Tensor,
    blank_grad: Tensor,
) -> None:
    """Overwrites the logits with the gradient by them.

    Args:
        logits: (N, V), changed in place.
        normalizer: (N,), from ``arc_log_probs``.
        next_token: (N,) ids, as they were given to it.
        blank: Id of the blank.
        token_grad: (N,), by the log-probabilities of the tokens.
        blank_grad: (N,), by those of the blank.
    """
    num_cells, vocab_size = logits.shape
    rows, columns = tile(vocab_size)
    dense = logits.contiguous()
    with torch.cuda.device_of(logits):
        _arc_gradient_kernel[(triton.cdiv(num_cells, rows), triton.cdiv(vocab_size, columns))](
            dense,
            normalizer.contiguous(),
            next_token.contiguous(),
            token_grad.contiguous(),
            blank_grad.contiguous(),
            num_cells,
            blank,
            VOCAB_SIZE=vocab_size,
            ROWS=rows,
            COLUMNS=columns,
        )
    if dense is not logits:
        logits.copy_(dense)


@triton.jit
def _arc_log_probs_kernel(
    logits: tl.tensor,
    next_token: tl.tensor,
    token: tl.tensor,
    no_token: tl.tensor,
    normalizer: tl.tensor,
    num_cells: tl.tensor,
    blank: tl.tensor,
    VOCAB_SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Sums exponentials relative to the largest logit so far, block by block of the vocabulary."""
    cell = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = cell < num_cells
    logits += cell * VOCAB_SIZE
    largest = tl.full([ROWS], _NEVER, dtype=tl.float32)
    total = tl.zeros([ROWS], dtype=tl.float32)
    for first in range(0, VOCAB_SIZE, COLUMNS):
        symbol = first + tl.arange(0, COLUMNS)
        in_block = inside[:, None] & (symbol < VOCAB_SIZE)[None, :]
        at = logits[:, None] + symbol[None, :]
        value = tl.load(at, mask=in_block, other=_NEVER).to(tl.float32)
        larger = tl.maximum(largest, tl.max(value, axis=1))
        offset = tl.where(larger == _NEVER, 0.0, larger)  # -inf - -inf is not a number
        total = total * tl.exp(largest - offset)
        total += tl.sum(tl.exp(value - offset[:, None]), axis=1)
        largest = larger
    log_sum = tl.where(total == 0.0, 0.0, largest + tl.log(total))
    tl.store(normalizer + cell, log_sum, mask=inside)
    symbol = tl.load(next_token + cell, mask=inside, other=0)
    known = inside & (symbol >= 0) & (symbol < VOCAB_SIZE)
    at_token = tl.load(logits + symbol, mask=known, other=float("nan")).to(tl.float32)
    tl.store(token + cell, at_token - log_sum, mask=inside)
    at_blank = tl.load(logits + blank, mask=inside, other=0.0).to(tl.float32)
    tl.store(no_token + cell, at_blank - log_sum, mask=inside)


@triton.jit
def _arc_gradient_kernel(
    logits: tl.tensor,
    normalizer: tl.tensor,
    next_token: tl.tensor,
    token_grad: tl.tensor,
    blank_grad: tl.tensor,
    num_cells: tl.tensor,
    blank: tl.tensor,
    VOCAB_SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    cell = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    symbol = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    in_cells = cell < num_cells
    inside = in_cells[:, None] & (symbol < VOCAB_SIZE)
    logits += cell[:, None] * VOCAB_SIZE + symbol
    log_sum = tl.load(normalizer + cell, mask=in_cells, other=0.0)[:, None]
    token = tl.load(next_token + cell, mask=in_cells, other=0)[:, None]
    by_token = tl.load(token_grad + cell, mask=in_cells, other=0.0).to(tl.float32)[:, None]
    by_blank = tl.load(blank_grad + cell, mask=in_cells, other=0.0).to(tl.float32)[:, None]

    value = tl.load(logits, mask=inside, other=_NEVER).to(tl.float32)
    grad = -(by_token + by_blank) * tl.exp(value - log_sum)
    grad += tl.where(symbol == token, by_token, 0.0) + tl.where(symbol == blank, by_blank, 0.0)
    tl.store(logits, grad, mask=inside)
