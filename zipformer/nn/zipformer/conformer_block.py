"""A Conformer block of the Zipformer's own modules: two of them in place of a layer.

Letters: B batch, K windows, W frames of a window, D channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from zipformer.nn.dropout import skip_sequences
from zipformer.nn.layout import Layout
from zipformer.nn.norm import make_bypass, make_norm
from zipformer.nn.regularizers import Balancer, Whiten
from zipformer.nn.schedule import ScheduledFloat
from zipformer.nn.zipformer.attention import AttentionWeights, SelfAttention
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.nn.zipformer.convolution import ConvModule
from zipformer.nn.zipformer.feedforward import FeedForward
from zipformer.nn.zipformer.layer import LayerState


class ConformerBlock(nn.Module):
    """Feed-forward, attention with its own weights, convolution, feed-forward; norm and bypass.

    A row of the published ablation table (Zipformer, arXiv 2310.11230): half a Zipformer
    layer in depth, without what makes that cheaper.

    Args: as in ``Layer``.
    """

    def __init__(
        self, config: ZipformerConfig, stack: int, skip_rate: float | ScheduledFloat
    ) -> None:
        super().__init__()
        channels, num_heads = config.dims[stack], config.num_heads[stack]
        feedforward, kernel = config.feedforward_dims[stack], config.kernels[stack]
        value_dim, choices = config.value_head_dim[stack], config.choices
        norm = choices.module_norm
        self.feed_forward1 = FeedForward(channels, feedforward, choices.wide, norm)
        self.self_attn_weights = AttentionWeights(
            channels,
            num_heads,
            config.query_head_dim[stack],
            config.pos_head_dim[stack],
            config.pos_dim,
        )
        self.self_attn1 = SelfAttention(channels, num_heads, value_dim, norm)
        self.conv_module1 = ConvModule(channels, kernel, config.causal, choices.convolution, norm)
        self.feed_forward2 = FeedForward(channels, feedforward, choices.wide, norm)
        self.norm = make_norm(choices.norm, channels)
        self.bypass = make_bypass(choices.bypass, channels, skip_rate)
        self.balancer1 = Balancer(0.45, 0.55, 0.2, 4.0)
        self.balancer2 = Balancer(0.45, 0.55, 0.1, 4.0)
        self.balancer_ff2 = Balancer(
            0.3, 0.7, ScheduledFloat((0.0, 0.0), (4000.0, 0.1)), 2.0, prob=0.05
        )
        self.whiten = Whiten(1, ScheduledFloat((0.0, 4.0), (20000.0, 12.0)))
        early = ((0.0, 0.2), (4000.0, 0.05), (16000.0, 0.0))
        self.attention_skip_rate = ScheduledFloat(*early, default=0.0)
        self.conv_skip_rate = ScheduledFloat(*early, default=0.0)
        self.ff2_skip_rate = ScheduledFloat((0.0, 0.1), (4000.0, 0.01), (50000.0, 0.0), default=0.0)

    def forward(
        self, x: Tensor, positions: Tensor, layout: Layout, state: LayerState
    ) -> tuple[Tensor, LayerState]:
        """Runs the block; arguments and result as in ``Layer``."""
        valid, new, start = layout.valid, LayerState(), x
        x = x + self.feed_forward1(x, layout)
        weights, new.key = self.self_attn_weights(x, positions, layout, state.key)
        y, new.value1 = self.self_attn1(x, weights, layout, state.value1)
        x = x + self._skip(y, self.attention_skip_rate)
        y, new.conv1 = self.conv_module1(x, layout, state.conv1)
        x = x + self._skip(y, self.conv_skip_rate)
        y = self.balancer_ff2(self.feed_forward2(x, layout), valid)
        x = x + self._skip(y, self.ff2_skip_rate)
        x = self.norm(self.balancer1(x, valid))
        x = self.bypass(start, x)
        return self.whiten(self.balancer2(x, valid), valid), new

    def _skip(self, x: Tensor, rate: ScheduledFloat) -> Tensor:
        return skip_sequences(x, float(rate), self.training)
