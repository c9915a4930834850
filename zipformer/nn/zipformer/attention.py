"""Attention with relative positions; its weights are computed once per layer and used three times.

Letters: B batch, K windows, W frames of a window, L left context, A frames looked ahead,
S = L + W + A keys, H heads, Q query dim per head, D channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.nn.choices import NormName
from zipformer.nn.gradients import chance, penalize_large
from zipformer.nn.layout import Layout
from zipformer.nn.linear import scaled_linear
from zipformer.nn.norm import make_module_norm
from zipformer.nn.positions import relative_shift
from zipformer.nn.regularizers import Balancer, Whiten
from zipformer.nn.schedule import ScheduledFloat


class AttentionWeights(nn.Module):
    """Multi-head attention weights from content and relative position.

    There is no division by sqrt(Q): the initial weights are smaller instead.

    Args:
        channels, num_heads: D, H.
        query_dim, pos_dim: Per head.
        encoding_dim: Size of the relative position encoding.
    """

    def __init__(
        self, channels: int, num_heads: int, query_dim: int, pos_dim: int, encoding_dim: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_size = num_heads * query_dim
        self.pos_size = num_heads * pos_dim
        width = 2 * self.query_size + self.pos_size
        self.in_proj = scaled_linear(channels, width, scale=query_dim**-0.25)
        self.linear_pos = scaled_linear(encoding_dim, self.pos_size, scale=0.05, bias=False)
        self.whiten_keys = Whiten(
            num_heads, ScheduledFloat((0.0, 3.0), (20000.0, 6.0)), grad_scale=0.025
        )
        self.balance_keys = Balancer(0.4, 0.6, 0.0, 100.0, prob=0.025)
        self.pos_skip_rate = ScheduledFloat((0.0, 0.5), (4000.0, 0.0), default=0.0)

    def forward(
        self, x: Tensor, positions: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Computes the weights.

        Args:
            x: (B, K, W, D).
            positions: (S + W, encoding_dim).
            layout: Of this frame rate.
            state: (B, L, H Q) keys that came before window 0, or None.

        Returns:
            (B, K, H, W, S), rows sum to one over the keys that the mask allows; and the new state.
        """
        sizes = [self.query_size, self.query_size, self.pos_size]
        query, key, pos_query = self.in_proj(x).split(sizes, dim=-1)
        key = self.whiten_keys(self.balance_keys(key, layout.valid), layout.valid)
        key, state = layout.with_context(key, state)  # (B, K, S, H Q)

        query = self._by_head(query)  # (B, K, H, W, Q)
        scores = torch.matmul(query, self._by_head(key).transpose(-1, -2))  # (B, K, H, W, S)
        if not (self.training and chance(float(self.pos_skip_rate))):
            encoded = self.linear_pos(positions)  # (S + W, H P)
            encoded = encoded.view(positions.shape[0], self.num_heads, -1)
            by_offset = torch.matmul(self._by_head(pos_query), encoded.permute(1, 2, 0))
            scores += relative_shift(by_offset, key.shape[2])
        if self.training and chance(0.1):
            scores = penalize_large(scores, limit=25.0, penalty=1e-4)
        scores = scores.masked_fill(~layout.attention_mask, torch.finfo(scores.dtype).min)
        return scores.softmax(dim=-1), state

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, K, T, H E) -> (B, K, H, T, E)."""
        return x.view(*x.shape[:3], self.num_heads, -1).transpose(2, 3)


class SelfAttention(nn.Module):
    """Averages values under given attention weights.

    Args:
        channels, num_heads: D, H.
        value_dim: Per head.
        norm: At the end, if there is to be one.
    """

    def __init__(
        self, channels: int, num_heads: int, value_dim: int, norm: NormName | None = None
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj = nn.Linear(channels, num_heads * value_dim)
        self.out_proj = scaled_linear(num_heads * value_dim, channels, scale=0.05)
        self.whiten = Whiten(1, ScheduledFloat((0.0, 7.5), (20000.0, 22.5)))
        self.out_norm = make_module_norm(norm, channels)

    def forward(
        self, x: Tensor, weights: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, K, W, D), weights (B, K, H, W, S), state (B, L, values) -> (B, K, W, D), state."""
        value, state = layout.with_context(self.in_proj(x), state)
        value = value.view(*value.shape[:3], self.num_heads, -1).transpose(2, 3)  # (B, K, H, S, V)
        mixed = torch.matmul(weights, value).transpose(2, 3).flatten(-2)  # (B, K, W, H V)
        return self.out_norm(self.whiten(self.out_proj(mixed), layout.valid)), state


class NonlinAttention(nn.Module):
    """Attention of one head between two gates, in place of a third feed-forward branch.

        y = out((w @ (tanh(s) * x)) * y)   with s, x, y = in(x), w the weights of the first head

    Args:
        channels: D; the inner width is 3 D / 4.
        norm: At the end, if there is to be one.
    """

    def __init__(self, channels: int, norm: NormName | None = None) -> None:
        super().__init__()
        hidden = 3 * channels // 4
        self.in_proj = nn.Linear(channels, 3 * hidden)
        self.out_proj = scaled_linear(hidden, channels, scale=0.05)
        self.balancer = Balancer(
            ScheduledFloat((0.0, 0.25), (20000.0, 0.05)),
            ScheduledFloat((0.0, 0.75), (20000.0, 0.95)),
            0.5,
            5.0,
        )
        self.whiten1 = Whiten(1, ScheduledFloat((0.0, 5.0), (20000.0, 10.0)))
        self.whiten2 = Whiten(1, ScheduledFloat((0.0, 5.0), (20000.0, 15.0)))
        self.out_norm = make_module_norm(norm, channels)

    def forward(
        self, x: Tensor, weights: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, K, W, D), weights (B, K, W, S), state (B, L, 3 D / 4) -> (B, K, W, D), state."""
        gate, x, out_gate = self.in_proj(x).chunk(3, dim=-1)
        gate = torch.tanh(self.balancer(gate, layout.valid))
        x = self.whiten1(x, layout.valid) * gate
        x, state = layout.with_context(x, state)
        x = torch.matmul(weights, x) * out_gate
        return self.out_norm(self.whiten2(self.out_proj(x), layout.valid)), state


def uniform_weights(mask: Tensor) -> Tensor:
    """Attention that averages over all allowed keys: mask (..., S) -> float weights (..., S)."""
    allowed = mask.float()
    return F.normalize(allowed, p=1.0, dim=-1)
