"""One Zipformer layer, and the state that a stream carries for it.

Letters: B batch, K windows, W frames of a window, L left context, D channels, H heads, k kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from zipformer.nn.dropout import keep_sequences, skip_sequences
from zipformer.nn.gradients import chance
from zipformer.nn.layout import Layout
from zipformer.nn.norm import make_bypass, make_norm
from zipformer.nn.regularizers import Balancer, Whiten
from zipformer.nn.schedule import ScheduledFloat
from zipformer.nn.zipformer.ablated import NoNonlinAttention, OwnWeights, SharedWeights
from zipformer.nn.zipformer.attention import (
    AttentionWeights,
    NonlinAttention,
    SelfAttention,
    uniform_weights,
)
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.nn.zipformer.convolution import ConvModule
from zipformer.nn.zipformer.feedforward import FeedForward


@dataclass
class LayerState:
    """What a layer remembers of the past; the stream's axis comes first in every tensor.

    None in a stream is what the layer has no part for.
    """

    key: Tensor | None = None  # (B, L, H * query dim)
    nonlin: Tensor | None = None  # (B, L, 3 D / 4)
    value1: Tensor | None = None  # (B, L, H * value dim)
    value2: Tensor | None = None  # (B, L, H * value dim)
    conv1: Tensor | None = None  # (B, k // 2, D)
    conv2: Tensor | None = None  # (B, k // 2, D)
    key2: Tensor | None = None  # (B, L, H * query dim), where attention weights are not shared


class Layer(nn.Module):
    """Six residual branches around one set of attention weights (arXiv 2310.11230, Figure 2).

    Args:
        config: The encoder's.
        stack: Which stack the layer is in.
        skip_rate: How often a sequence skips the whole layer.
    """

    def __init__(
        self, config: ZipformerConfig, stack: int, skip_rate: float | ScheduledFloat
    ) -> None:
        super().__init__()
        channels, num_heads = config.dims[stack], config.num_heads[stack]
        feedforward, kernel = config.feedforward_dims[stack], config.kernels[stack]
        value_dim, choices = config.value_head_dim[stack], config.choices
        wide, convolution, causal = choices.wide, choices.convolution, config.causal
        norm = choices.module_norm
        attention = (
            channels,
            num_heads,
            config.query_head_dim[stack],
            config.pos_head_dim[stack],
            config.pos_dim,
        )
        self.self_attn_weights = AttentionWeights(*attention)
        self.self_attn_weights2 = (
            SharedWeights() if choices.share_attention else OwnWeights(*attention)
        )
        self.self_attn1 = SelfAttention(channels, num_heads, value_dim, norm)
        self.self_attn2 = SelfAttention(channels, num_heads, value_dim, norm)
        self.feed_forward1 = FeedForward(channels, feedforward * 3 // 4, wide, norm)
        self.feed_forward2 = FeedForward(channels, feedforward, wide, norm)
        self.feed_forward3 = FeedForward(channels, feedforward * 5 // 4, wide, norm)
        self.nonlin_attention = (
            NonlinAttention(channels, norm) if choices.nonlin_attention else NoNonlinAttention()
        )
        self.conv_module1 = ConvModule(channels, kernel, causal, convolution, norm)
        self.conv_module2 = ConvModule(channels, kernel, causal, convolution, norm)
        self.bypass_mid = make_bypass(choices.bypass, channels)
        self.bypass = make_bypass(choices.bypass, channels, skip_rate)
        self.norm = make_norm(choices.norm, channels)
        self.balancer1 = Balancer(0.45, 0.55, 0.2, 4.0)
        self.balancer2 = Balancer(0.45, 0.55, 0.1, 4.0)
        self.balancer_na = Balancer(
            0.3, 0.7, ScheduledFloat((0.0, 0.004), (4000.0, 0.02)), prob=0.05
        )
        self.balancer_ff2 = Balancer(
            0.3, 0.7, ScheduledFloat((0.0, 0.0), (4000.0, 0.1)), 2.0, prob=0.05
        )
        self.balancer_ff3 = Balancer(
            0.3, 0.7, ScheduledFloat((0.0, 0.0), (4000.0, 0.2)), 4.0, prob=0.05
        )
        self.whiten = Whiten(1, ScheduledFloat((0.0, 4.0), (20000.0, 12.0)))

        attention_and_conv = ((0.0, 0.2), (4000.0, 0.05), (16000.0, 0.0))
        feed_forward = ((0.0, 0.1), (4000.0, 0.01), (50000.0, 0.0))
        self.attention_skip_rate = ScheduledFloat(*attention_and_conv, default=0.0)
        self.conv_skip_rate = ScheduledFloat(*attention_and_conv, default=0.0)
        self.ff2_skip_rate = ScheduledFloat(*feed_forward, default=0.0)
        self.ff3_skip_rate = ScheduledFloat(*feed_forward, default=0.0)
        self.const_attention_rate = ScheduledFloat((0.0, 0.25), (4000.0, 0.025), default=0.0)

    def forward(
        self, x: Tensor, positions: Tensor, layout: Layout, state: LayerState
    ) -> tuple[Tensor, LayerState]:
        """Runs the layer.

        Args:
            x: (B, K, W, D).
            positions: Relative position encodings, (L + 2 W, encoding_dim).
            layout: Of this frame rate.
            state: What came before window 0; empty for a whole utterance.

        Returns:
            (B, K, W, D), and the state after the last chunk.
        """
        valid, new, start = layout.valid, LayerState(), x
        weights, new.key = self.self_attn_weights(x, positions, layout, state.key)
        # One draw for all three uses of the attention weights.
        keep = keep_sequences(x, float(self.attention_skip_rate), self.training)
        attend = 1.0 if keep is None else keep

        x = x + self.feed_forward1(x, layout)
        y, new.nonlin = self.nonlin_attention(x, self._head0(weights, layout), layout, state.nonlin)
        x = x + self.balancer_na(y, valid) * attend
        y, new.value1 = self.self_attn1(x, weights, layout, state.value1)
        x = x + y * attend
        y, new.conv1 = self.conv_module1(x, layout, state.conv1)
        x = x + self._skip(y, self.conv_skip_rate)
        y = self.balancer_ff2(self.feed_forward2(x, layout), valid)
        x = x + self._skip(y, self.ff2_skip_rate)
        x = self.bypass_mid(start, x)

        weights, new.key2 = self.self_attn_weights2(weights, x, positions, layout, state.key2)
        y, new.value2 = self.self_attn2(x, weights, layout, state.value2)
        x = x + y * attend
        y, new.conv2 = self.conv_module2(x, layout, state.conv2)
        x = x + self._skip(y, self.conv_skip_rate)
        y = self.balancer_ff3(self.feed_forward3(x, layout), valid)
        x = x + self._skip(y, self.ff3_skip_rate)

        x = self.norm(self.balancer1(x, valid))
        x = self.bypass(start, x)
        return self.whiten(self.balancer2(x, valid), valid), new

    def _head0(self, weights: Tensor, layout: Layout) -> Tensor:
        """The weights of the first head, (B, K, W, S); now and then plain averages, to train on."""
        first = weights[:, :, 0]
        if self.training and chance(float(self.const_attention_rate)):
            mask = layout.attention_mask[:, :, 0].expand(first.shape)
            return uniform_weights(mask).to(first.dtype)
        return first

    def _skip(self, x: Tensor, rate: ScheduledFloat) -> Tensor:
        return skip_sequences(x, float(rate), self.training)
