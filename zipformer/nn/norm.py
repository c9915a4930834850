"""Norms, and the bypass that learns how much of a layer to use."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zipformer import ops
from zipformer.nn.choices import NormName
from zipformer.nn.dropout import keep_sequences
from zipformer.nn.gradients import limit_value
from zipformer.nn.schedule import ScheduledFloat, scheduled


class BiasNorm(nn.Module):
    """Normalises the size of a frame but keeps what lies along a learned bias.

        y = x / rms(x - bias) * exp(log_scale)

    Unlike LayerNorm it does not centre, and has no epsilon: a frame of zeros comes out as zeros
    as long as the bias is not zero (Zipformer, arXiv 2310.11230, section 3.3).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.randn(channels) * 1e-4)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        log_scale = limit_value(self.log_scale, -1.5, 1.5, self.training)
        return ops.bias_norm(x, self.bias, log_scale)


def layer_norm(channels: int) -> nn.LayerNorm:
    """LayerNorm whose bias does not start at zero.

    ScaledAdam changes a tensor relative to its size: zeros would hardly ever move.
    """
    norm = nn.LayerNorm(channels)
    nn.init.normal_(norm.bias, std=0.01)
    return norm


def make_norm(name: NormName, channels: int) -> nn.Module:
    """The norm of that name: (..., C) -> (..., C)."""
    return BiasNorm(channels) if name == "bias_norm" else layer_norm(channels)


def make_module_norm(name: NormName | None, channels: int) -> nn.Module:
    """The norm at the end of a module, (..., C) -> (..., C), or what takes its place."""
    return nn.Identity() if name is None else make_norm(name, channels)


class Bypass(nn.Module):
    """Interpolates between a module's input and output with a learned weight per channel.

    Args:
        channels: C.
        skip_rate: How often a whole sequence takes the input alone, in training.
    """

    def __init__(self, channels: int, skip_rate: float | ScheduledFloat = 0.0) -> None:
        super().__init__()
        self.bypass_scale = nn.Parameter(torch.full((channels,), 0.5))
        self.skip_rate = scheduled(skip_rate)
        self.min_scale = ScheduledFloat((0.0, 0.9), (20000.0, 0.2), default=0.0)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """(B, ..., C), the input and the output of what is bypassed -> (B, ..., C)."""
        scale = limit_value(self.bypass_scale, float(self.min_scale), 1.0, self.training)
        keep = keep_sequences(before, float(self.skip_rate), self.training)
        if keep is not None:
            scale = scale * keep
        return before + (after - before) * scale


class NoBypass(nn.Module):
    """In place of a ``Bypass``: what comes out is the output."""

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """(B, ..., C) twice -> the second one."""
        return after


def make_bypass(present: bool, channels: int, skip_rate: float | ScheduledFloat = 0.0) -> nn.Module:
    """A ``Bypass``, or what takes its place."""
    return Bypass(channels, skip_rate) if present else NoBypass()
