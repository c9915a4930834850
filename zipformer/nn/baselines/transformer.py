"""A Transformer encoder with relative positions.

Letters: B batch, K windows, W frames of a window, L left context, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from zipformer.context import FRAMES_PER_OUTPUT, Context
from zipformer.nn.baselines.attention import RelativeAttention
from zipformer.nn.baselines.attention_encoder import AttentionEncoder
from zipformer.nn.baselines.config import TransformerConfig
from zipformer.nn.baselines.feedforward import SwishFeedForward
from zipformer.nn.baselines.norm import ModeNorm
from zipformer.nn.layout import Layout


@dataclass
class TransformerState:
    """What a layer remembers of the past; the stream's axis comes first."""

    seen: Tensor | None = None  # (B, L, 2 D), keys and values


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each after a norm and beside a residual.

    Args:
        config: The encoder's.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        channels, dropout = config.dim, config.dropout
        self.norm = ModeNorm(channels, config.dual_norm)
        self.self_attn = RelativeAttention(channels, config.num_heads, config.pos_dim, dropout)
        self.feed_forward = SwishFeedForward(
            channels, config.feedforward_dim, dropout, config.dual_norm
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, positions: Tensor, layout: Layout, state: TransformerState
    ) -> tuple[Tensor, TransformerState]:
        """(B, K, W, D) and the state before window 0 -> (B, K, W, D) and the new state."""
        y, seen = self.self_attn(self.norm(x, layout), positions, layout, state.seen)
        x = x + self.dropout(y)
        return x + self.feed_forward(x, layout), TransformerState(seen)


class Transformer(AttentionEncoder):
    """Frontend, downsampling to 25 Hz, pre-norm Transformer layers and a last norm.

    Args:
        config: Sizes.
    """

    config: TransformerConfig
    layer_state = TransformerState

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config, (TransformerLayer(config) for _ in range(config.num_layers)))
        self.norm = ModeNorm(config.dim, config.dual_norm)

    def state_shapes(self, context: Context) -> list[dict[str, tuple[int, ...]]]:
        """Keys and values of the left context."""
        seen = (context.left // FRAMES_PER_OUTPUT, 2 * self.config.dim)
        return [{"seen": seen}] * self.num_layers

    def _encode(self, x: Tensor, layout: Layout, states: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        """(B, K, W, D) at 50 Hz -> (B, K, W, D) at 25 Hz, and the new states."""
        x, new_states = super()._encode(x, layout, states)
        return self.norm(x, layout), new_states
