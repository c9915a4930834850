"""Symmetric depthwise convolution under chunks, and the Conformer's module around it.

Letters: B batch, K windows, W frames of a window, D channels, k kernel size.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from zipformer import ops
from zipformer.nn.baselines.norm import ModeNorm
from zipformer.nn.layout import Layout


class WindowConv(nn.Conv1d):
    """Depthwise convolution that sees the past across windows and the future within its window.

    It is one symmetric kernel. Its taps that lie after the end of the window meet zeros, so that
    full context sees the whole kernel and a short window of it what is there (Dual-mode ASR, ICLR
    2021, section 3.1).

    Args:
        channels: D.
        kernel: k, odd.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, groups=channels)
        self.reach = kernel // 2

    def forward(  # type: ignore[override]
        self, x: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Convolves windows.

        Args:
            x: (B, K, W, D); what is not valid counts as zero.
            layout: Of this frame rate. In the masked view each chunk is a window of its own.
            state: (B, k // 2, D) frames before window 0, or None.

        Returns:
            (B, K, W, D), and the new state.
        """
        x = x if layout.valid is None else x.masked_fill(~layout.valid, 0.0)
        windows = layout.convolution
        if windows is layout:
            return self._convolve(x, layout, state)
        y, _ = self._convolve(windows.fold(x.squeeze(1)), windows, None)
        return windows.unfold(y, x.shape[2]).unsqueeze(1), state

    def _convolve(
        self, x: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        shape = x.shape
        x, state = layout.with_history(x, self.reach, state)
        x = F.pad(x, (0, 0, 0, self.reach)).flatten(0, 1)  # (B K, k // 2 + W + k // 2, D)
        return ops.depthwise_conv(x, self.weight, self.bias, 0).reshape(shape), state


class ConformerConvolution(nn.Module):
    """Norm, gate, depthwise convolution, norm, Swish, projection (arXiv 2005.08100, Figure 2).

    The norm after the convolution is a LayerNorm, not a BatchNorm, which would make an utterance
    depend on the others of its batch, and on their padding.

    Args:
        channels: D.
        kernel: k, odd.
        dropout: In training.
        dual_norm: See ``ModeNorm``.
    """

    def __init__(self, channels: int, kernel: int, dropout: float, dual_norm: bool) -> None:
        super().__init__()
        self.norm = ModeNorm(channels, dual_norm)
        self.in_proj = nn.Linear(channels, 2 * channels)
        self.depthwise_conv = WindowConv(channels, kernel)
        self.inner_norm = ModeNorm(channels, dual_norm)
        self.out_proj = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, K, W, D), state (B, k // 2, D) -> (B, K, W, D), state."""
        x = F.glu(self.in_proj(self.norm(x, layout)), dim=-1)
        x, state = self.depthwise_conv(x, layout, state)
        x = F.silu(self.inner_norm(x, layout))
        return self.dropout(self.out_proj(x)), state
