"""Dropout whose mask is shared: along time, or by a whole sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zipformer.nn.schedule import ScheduledFloat, scheduled


class SharedDropout(nn.Module):
    """Drops a channel for a whole utterance, not frame by frame.

    Args:
        rate: Share of the channels that are dropped, in training.
    """

    def __init__(self, rate: float | ScheduledFloat) -> None:
        super().__init__()
        self.rate = scheduled(rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ..., C) -> (B, ..., C), scaled so that the mean stays."""
        rate = float(self.rate)
        if not self.training or rate == 0.0:
            return x
        shape = (x.shape[0], *([1] * (x.ndim - 2)), x.shape[-1])
        keep = (torch.rand(shape, device=x.device) > rate).to(x.dtype)
        return x * (keep / (1.0 - rate))


def keep_sequences(x: Tensor, skip_rate: float, training: bool) -> Tensor | None:
    """Which sequences of a batch use a branch in this pass.

    Args:
        x: (B, ...).
        skip_rate: Share of the sequences that skip it.
        training: False keeps all.

    Returns:
        (B, 1, ..., 1) of ones and zeros in the type of ``x``; None when all are kept. The kept
        ones are not scaled up: the layer learns to do without the branch, not to average over it.
    """
    if not training or skip_rate == 0.0:
        return None
    shape = (x.shape[0], *([1] * (x.ndim - 1)))
    return (torch.rand(shape, device=x.device) > skip_rate).to(x.dtype)


def skip_sequences(x: Tensor, skip_rate: float, training: bool) -> Tensor:
    """``x`` with the skipped sequences set to zero."""
    keep = keep_sequences(x, skip_rate, training)
    return x if keep is None else x * keep
