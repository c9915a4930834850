"""Convolution module: gated, depthwise, and aware of chunks.

Letters: B batch, K windows, W frames of a window, D channels, k kernel size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer import ops
from zipformer.nn.choices import Activation, NormName
from zipformer.nn.layout import Layout
from zipformer.nn.linear import scaled_linear
from zipformer.nn.norm import make_module_norm
from zipformer.nn.regularizers import Balancer, Whiten
from zipformer.nn.schedule import ScheduledFloat


class DepthwiseConv(nn.Conv1d):
    """Plain depthwise convolution that sees the whole utterance.

    Args:
        channels: D.
        kernel: k, odd.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels)

    def forward(  # type: ignore[override]
        self, x: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, 1, T, D) -> (B, 1, T, D)."""
        y = ops.depthwise_conv(x.squeeze(1), self.weight, self.bias, self.kernel_size[0] // 2)
        return y.unsqueeze(1), state


class ChunkCausalConv(nn.Module):
    """Depthwise convolution that sees the past across chunks and the future within its window.

    It is the sum of a causal convolution of k // 2 + 1 taps over everything and a symmetric one of
    k taps inside each window. The symmetric one meets zeros at the window's edges; a learned scale
    near either edge makes up for that.

    Args:
        channels: D.
        kernel: k, odd.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.history = kernel // 2
        half = (kernel + 1) // 2
        self.causal_conv = nn.Conv1d(channels, channels, half, groups=channels)
        self.chunkwise_conv = nn.Conv1d(channels, channels, kernel, groups=channels)
        self.chunkwise_conv_scale = nn.Parameter(torch.zeros(2, channels, kernel))
        assert self.causal_conv.bias is not None
        nn.init.uniform_(self.causal_conv.bias, -0.1, 0.1)

    def forward(
        self, x: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Convolves windows.

        Args:
            x: (B, K, W, D), zero where invalid.
            layout: In which no window sees right context that it should not.
            state: (B, k // 2, D) frames before window 0, or None.

        Returns:
            (B, K, W, D), and the new state.
        """
        if layout.chunk == layout.size:  # no right context: the chunks in a row are the past
            past, state = layout.sequence(x, self.history, state)
        else:
            past, state = layout.with_history(x, self.history, state)
            past = past.flatten(0, 1)
        y = _convolve(self.causal_conv, past, padding=0).reshape(x.shape)
        within = _convolve(self.chunkwise_conv, x.flatten(0, 1), padding=self.history)
        return torch.addcmul(y, within.reshape(x.shape), self._edge_scale(layout)), state

    def _edge_scale(self, layout: Layout) -> Tensor:
        """(W, D), or (B, 1, W, D) where each utterance has its own edge, the scale by position.

        The edges are those of the nominal window, even where an utterance ends before it does;
        without chunks they are those of the utterance.
        """
        left, right = self.chunkwise_conv_scale.transpose(1, 2)  # (k, D) each
        size, k = layout.size, self.kernel
        if not layout.full:
            scale = 1.0 + F.pad(left[:size], (0, 0, 0, max(0, size - k)))
            return scale + F.pad(right[-size:], (0, 0, max(0, size - k), 0))
        assert layout.lengths is not None
        position = torch.arange(size, device=left.device)  # (W,)
        to_end = layout.lengths[:, None] - position  # (B, W), >= 1
        scale = 1.0 + _tap(left, position)
        return (scale + _tap(right, k - to_end)).unsqueeze(1)


def _tap(taps: Tensor, index: Tensor) -> Tensor:
    """Rows of (k, D) by index, (...) -> (..., D); zeros where there is no such row."""
    last = taps.shape[0] - 1
    there = (index >= 0) & (index <= last)
    return taps[index.clamp(0, last)] * there.unsqueeze(-1)


def _convolve(conv: nn.Conv1d, x: Tensor, padding: int) -> Tensor:
    return ops.depthwise_conv(x, conv.weight, conv.bias, padding)


class ConvModule(nn.Module):
    """Gate, depthwise convolution, SwooshR or another activation, projection.

    Args:
        channels: D.
        kernel: k, odd.
        causal: Whether the convolution respects chunks.
        activation: After the convolution.
        norm: At the end, if there is to be one.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        causal: bool,
        activation: Activation = ops.swoosh_r,
        norm: NormName | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.in_proj = nn.Linear(channels, 2 * channels)
        self.balancer1 = Balancer(  # of the gate, before the sigmoid
            ScheduledFloat((0.0, 0.05), (8000.0, 0.025)),
            1.0,
            1.5,
            ScheduledFloat((0.0, 5.0), (8000.0, 10.0)),
        )
        conv = ChunkCausalConv if causal else DepthwiseConv
        self.depthwise_conv = conv(channels, kernel)
        self.balancer2 = Balancer(
            ScheduledFloat((0.0, 0.1), (8000.0, 0.05)),
            1.0,
            ScheduledFloat((0.0, 0.2), (20000.0, 0.5)),
            10.0,
        )
        self.whiten = Whiten(1, ScheduledFloat((0.0, 7.5), (20000.0, 15.0)))
        self.out_proj = scaled_linear(channels, channels, scale=0.05)
        self.out_norm = make_module_norm(norm, channels)

    def forward(
        self, x: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, K, W, D), state (B, k // 2, D) -> (B, K, W, D), state."""
        x, gate = self.in_proj(x).chunk(2, dim=-1)
        x = x * torch.sigmoid(self.balancer1(gate, layout.valid))
        x = x if layout.valid is None else x.masked_fill(~layout.valid, 0.0)
        if layout.convolution is layout:
            x, state = self.depthwise_conv(x, layout, state)
        else:
            windows = layout.convolution
            y, _ = self.depthwise_conv(windows.fold(x.squeeze(1)), windows, None)
            x = windows.unfold(y, x.shape[2]).unsqueeze(1)
        x = self.whiten(self.balancer2(x, layout.valid), layout.valid)
        return self.out_norm(self.out_proj(self.activation(x))), state
