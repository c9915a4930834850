"""The feed-forward module of the encoders that the Zipformer is compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.nn.baselines.norm import ModeNorm
from zipformer.nn.layout import Layout


class SwishFeedForward(nn.Module):
    """Norm, projection, Swish, projection; dropout after each projection.

    Args:
        channels: D.
        hidden: Width between the projections.
        dropout: In training.
        dual_norm: See ``ModeNorm``.
    """

    def __init__(self, channels: int, hidden: int, dropout: float, dual_norm: bool) -> None:
        super().__init__()
        self.norm = ModeNorm(channels, dual_norm)
        self.in_proj = nn.Linear(channels, hidden)
        self.out_proj = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, K, W, D) -> (B, K, W, D)."""
        x = self.dropout(F.silu(self.in_proj(self.norm(x, layout))))
        return self.dropout(self.out_proj(x))
