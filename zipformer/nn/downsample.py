"""Lower and higher frame rates inside the encoder.

Letters: B batch, K windows, W frames of a window, D channels, ds downsampling factor.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.nn.layout import Layout


class Downsample(nn.Module):
    """Replaces every ``factor`` frames by their weighted mean, with learned weights.

    Where fewer frames are left at the end of an utterance, its own last one is repeated, whatever
    follows it in the batch.

    Args:
        factor: ds.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.bias = nn.Parameter(torch.zeros(factor))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, K, W, D) in ``layout`` (before downsampling) -> (B, K, ceil(W / ds), D)."""
        missing = -layout.size % self.factor
        x = F.pad(x, (0, 0, 0, missing))
        if layout.lengths is not None:
            x = _repeat_last_frame(x, layout, layout.lengths)
        weights = self.bias.softmax(dim=0)
        x = x.view(*x.shape[:2], -1, self.factor, x.shape[3])
        return torch.einsum("bkwsd,s->bkwd", x, weights)


class SameRate(nn.Module):
    """In place of a ``Downsample``: nothing is to be done."""

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, K, W, D) -> the same."""
        return x


def _repeat_last_frame(x: Tensor, layout: Layout, lengths: Tensor) -> Tensor:
    """Overwrites what lies after each utterance's end with its last frame inside the window."""
    starts = layout.chunk * torch.arange(layout.num_windows, device=x.device)
    lengths = lengths[:, None] - starts  # (B, K) valid frames of each window
    last = (lengths - 1).clamp(0, x.shape[2] - 1)[..., None, None]
    last_frame = x.gather(2, last.expand(*last.shape[:3], x.shape[-1]))
    inside = torch.arange(x.shape[2], device=x.device) < lengths[..., None]
    return torch.where(inside[..., None], x, last_frame)


def upsample(x: Tensor, factor: int, num_frames: int) -> Tensor:
    """Repeats every frame: (B, K, W, D) -> (B, K, num_frames, D), at most ``factor`` times W."""
    return x.repeat_interleave(factor, dim=2)[:, :, :num_frames]
