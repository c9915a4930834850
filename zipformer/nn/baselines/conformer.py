"""A Conformer encoder whose convolutions obey chunks.

Letters: B batch, K windows, W frames of a window, L left context, D channels, k kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from zipformer.context import FRAMES_PER_OUTPUT, Context
from zipformer.nn.baselines.attention import RelativeAttention
from zipformer.nn.baselines.attention_encoder import AttentionEncoder
from zipformer.nn.baselines.config import ConformerConfig
from zipformer.nn.baselines.convolution import ConformerConvolution
from zipformer.nn.baselines.feedforward import SwishFeedForward
from zipformer.nn.baselines.norm import ModeNorm
from zipformer.nn.layout import Layout


@dataclass
class ConformerState:
    """What a layer remembers of the past; the stream's axis comes first."""

    seen: Tensor | None = None  # (B, L, 2 D), keys and values
    conv: Tensor | None = None  # (B, k // 2, D)


class ConformerLayer(nn.Module):
    """Attention and convolution between two halves of a feed-forward (arXiv 2005.08100, eq. 1).

    Args:
        config: The encoder's.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        channels, dropout, dual = config.dim, config.dropout, config.dual_norm
        self.feed_forward1 = SwishFeedForward(channels, config.feedforward_dim, dropout, dual)
        self.attn_norm = ModeNorm(channels, dual)
        self.self_attn = RelativeAttention(channels, config.num_heads, config.pos_dim, dropout)
        self.conv_module = ConformerConvolution(channels, config.kernel, dropout, dual)
        self.feed_forward2 = SwishFeedForward(channels, config.feedforward_dim, dropout, dual)
        self.out_norm = ModeNorm(channels, dual)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, positions: Tensor, layout: Layout, state: ConformerState
    ) -> tuple[Tensor, ConformerState]:
        """(B, K, W, D) and the state before window 0 -> (B, K, W, D) and the new state."""
        x = x + 0.5 * self.feed_forward1(x, layout)
        y, seen = self.self_attn(self.attn_norm(x, layout), positions, layout, state.seen)
        x = x + self.dropout(y)
        y, conv = self.conv_module(x, layout, state.conv)
        x = x + y
        x = x + 0.5 * self.feed_forward2(x, layout)
        return self.out_norm(x, layout), ConformerState(seen, conv)


class Conformer(AttentionEncoder):
    """Frontend, downsampling to 25 Hz and Conformer layers.

    Args:
        config: Sizes.
    """

    config: ConformerConfig
    layer_state = ConformerState

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__(config, (ConformerLayer(config) for _ in range(config.num_layers)))

    def state_shapes(self, context: Context) -> list[dict[str, tuple[int, ...]]]:
        """Keys and values of the left context, and what the convolution needs."""
        dim = self.config.dim
        layer: dict[str, tuple[int, ...]] = {
            "seen": (context.left // FRAMES_PER_OUTPUT, 2 * dim),
            "conv": (self.config.kernel // 2, dim),
        }
        return [layer] * self.num_layers
