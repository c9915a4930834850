"""What the transducer losses have in common: types, reductions, and a look at the arguments.

Letters: B batch, U tokens, T frames, V vocabulary.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

RnntType = Literal["regular", "modified", "constrained"]
Reduction = Literal["none", "sum", "mean"]
Backend = Literal["torch", "k2"]


def reduce(loss: Tensor, reduction: Reduction) -> Tensor:
    """(B,) -> (B,), or the sum or mean over the batch.

    Raises:
        ValueError: If there is no such reduction.
    """
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    raise ValueError(f"reduction {reduction!r}: choose 'none', 'sum' or 'mean'")


def at_least_float(x: Tensor) -> Tensor:
    """Half precision becomes float32."""
    return x if x.dtype == torch.float64 else x.float()


def checked_lattice(
    symbols: Tensor,
    boundary: Tensor,
    sizes: tuple[int, int, int, int],
    rnnt_type: RnntType,
    blank: int,
) -> tuple[Tensor, Tensor]:
    """Refuses targets and sizes that do not describe a lattice.

    Shapes are always checked. Values are checked on the CPU only: on a GPU that would make every
    call wait for the device.

    Args:
        symbols: (B, U) integers; padding may hold anything.
        boundary: (B, 4) integers, rows (0, 0, U, T).
        sizes: B, U, T and V of the scores.
        rnnt_type: Type of the lattice.
        blank: Id of the blank.

    Returns:
        ``symbols`` with padding replaced by blanks, and ``boundary``, as int64.

    Raises:
        ValueError: Naming the argument and its shape or value.
    """
    batch, num_tokens, num_frames, vocab_size = sizes
    if rnnt_type not in get_args(RnntType):
        raise ValueError(f"rnnt_type {rnnt_type!r}: choose one of {', '.join(get_args(RnntType))}")
    if not 0 <= blank < vocab_size:
        raise ValueError(f"blank {blank} is no id of a vocabulary of {vocab_size}")
    _check_integers("symbols", symbols, (batch, num_tokens))
    _check_integers("boundary", boundary, (batch, 4))
    symbols, boundary = symbols.long(), boundary.long()
    is_padding = torch.arange(num_tokens, device=symbols.device) >= boundary[:, 2:3]
    symbols = symbols.masked_fill(is_padding, blank)
    if symbols.device.type == "cpu":
        _check_values(symbols, boundary, sizes)
    return symbols, boundary


def _check_integers(name: str, found: Tensor, shape: tuple[int, ...]) -> None:
    if found.shape != shape or found.is_floating_point():
        raise ValueError(
            f"{name} must be integers of shape {shape} to fit the scores, got {found.dtype} of "
            f"shape {tuple(found.shape)}"
        )


def _check_values(symbols: Tensor, boundary: Tensor, sizes: tuple[int, int, int, int]) -> None:
    _, num_tokens, num_frames, vocab_size = sizes
    limits = torch.tensor([0, 0, num_tokens, num_frames])
    if ((boundary < 0) | (boundary > limits)).any():
        raise ValueError(
            f"boundary rows must be (0, 0, tokens <= {num_tokens}, frames <= {num_frames}), "
            f"got {boundary.tolist()}"
        )
    if ((symbols < 0) | (symbols >= vocab_size)).any():
        raise ValueError(
            f"symbols must lie in 0..{vocab_size - 1}, got {int(symbols.min())}.."
            f"{int(symbols.max())}"
        )
