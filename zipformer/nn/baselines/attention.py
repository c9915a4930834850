"""Multi-head self-attention with relative positions.

Letters: B batch, K windows, W frames of a window, L left context, S keys, H heads,
E = D / H, D channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zipformer.nn.layout import Layout
from zipformer.nn.positions import relative_shift


class RelativeAttention(nn.Module):
    """Attention by content and by distance (Transformer-XL, arXiv 1901.02860, section 3.3).

        score(i, j) = ((q_i + u) . k_j + (q_i + v) . r_(j - i)) / sqrt(E)

    with learned u and v per head, and r a projection of the encoded distance.

    Args:
        channels, num_heads: D, H.
        encoding_dim: Size of the relative position encoding.
        dropout: Of attention weights, in training.
    """

    def __init__(self, channels: int, num_heads: int, encoding_dim: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.linear_pos = nn.Linear(encoding_dim, channels, bias=False)
        shape = (num_heads, 1, channels // num_heads)
        self.content_bias = nn.Parameter(torch.empty(shape).uniform_(-0.1, 0.1))
        self.position_bias = nn.Parameter(torch.empty(shape).uniform_(-0.1, 0.1))
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(channels, channels)

    def forward(
        self, x: Tensor, positions: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Attends to the left context, the window, and in the masked view to what follows.

        Args:
            x: (B, K, W, D).
            positions: (S + W, encoding_dim), of ``RelativePositions``.
            layout: Of this frame rate.
            state: (B, L, 2 D), keys and values that came before window 0, or None.

        Returns:
            (B, K, W, D), and the new state.
        """
        query, key, value = self.in_proj(x).chunk(3, dim=-1)
        seen, state = layout.with_context(torch.cat([key, value], dim=-1), state)
        key, value = seen.chunk(2, dim=-1)  # (B, K, S, D)
        query, key, value = self._by_head(query), self._by_head(key), self._by_head(value)
        encoded = self._by_head(self.linear_pos(positions)[None, None])  # (1, 1, H, S + W, E)
        scores = torch.matmul(query + self.content_bias, key.transpose(-1, -2))
        by_offset = torch.matmul(query + self.position_bias, encoded.transpose(-1, -2))
        scores = (scores + relative_shift(by_offset, key.shape[-2])) / math.sqrt(query.shape[-1])
        scores = scores.masked_fill(~layout.attention_mask, torch.finfo(scores.dtype).min)
        weights = self.dropout(scores.softmax(dim=-1))  # (B, K, H, W, S)
        mixed = torch.matmul(weights, value).transpose(2, 3).flatten(-2)  # (B, K, W, D)
        return self.out_proj(mixed), state

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, K, T, D) -> (B, K, H, T, E)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(2, 3)
