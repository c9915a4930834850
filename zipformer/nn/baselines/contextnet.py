"""A ContextNet encoder: convolutions, and averages over everything heard so far.

Letters: B batch, K windows, W frames of a window, D channels, k kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.context import Context
from zipformer.nn.baselines.config import ContextNetConfig
from zipformer.nn.baselines.convolution import WindowConv
from zipformer.nn.baselines.norm import ModeNorm
from zipformer.nn.baselines.squeeze import SqueezeExcitation
from zipformer.nn.downsample import Downsample
from zipformer.nn.layout import Layout
from zipformer.nn.streaming_encoder import StreamingEncoder


@dataclass
class BlockState:
    """What a block remembers of the past; the stream's axis comes first."""

    history: Tensor | None = None  # (B, k // 2, inputs of all its convolutions side by side)
    total: Tensor | None = None  # (B, D), sum over the frames so far; the stream counts them


class ConvLayer(nn.Module):
    """Depthwise convolution, projection, norm, Swish.

    Args:
        in_channels, out_channels: Of the projection.
        kernel: k, odd.
        dual_norm: See ``ModeNorm``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dual_norm: bool) -> None:
        super().__init__()
        self.depthwise_conv = WindowConv(in_channels, kernel)
        self.out_proj = nn.Linear(in_channels, out_channels)
        self.norm = ModeNorm(out_channels, dual_norm)

    def forward(
        self, x: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, K, W, D), state (B, k // 2, D) -> (B, K, W, D'), state."""
        x, state = self.depthwise_conv(x, layout, state)
        return F.silu(self.norm(self.out_proj(x), layout)), state


class Block(nn.Module):
    """Convolutions in a row; then squeeze-and-excitation, and a projected residual.

    Args:
        in_channels, out_channels: D before and after.
        num_layers: Convolutions.
        config: The encoder's.
        plain: Leaves squeeze-and-excitation and residual out, as the first and last blocks do.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_layers: int,
        config: ContextNetConfig,
        plain: bool,
    ) -> None:
        super().__init__()
        self.widths = [in_channels, *[out_channels] * (num_layers - 1)]
        self.layers = nn.ModuleList(
            ConvLayer(width, out_channels, config.kernel, config.dual_norm) for width in self.widths
        )
        self.dropout = nn.Dropout(config.dropout)
        self.squeeze = None if plain else SqueezeExcitation(out_channels, config.squeeze)
        self.residual = None if plain else nn.Linear(in_channels, out_channels)
        self.residual_norm = None if plain else ModeNorm(out_channels, config.dual_norm)

    def forward(self, x: Tensor, layout: Layout, state: BlockState) -> tuple[Tensor, BlockState]:
        """(B, K, W, D) and the state before window 0 -> (B, K, W, D') and the new state."""
        y, histories = x, []
        for layer, history in zip(self.layers, self._split(state.history), strict=True):
            y, new_history = layer(y, layout, history)
            histories.append(new_history)
        total = None
        if self.squeeze is not None:
            assert self.residual is not None and self.residual_norm is not None
            y, total = self.squeeze(y, layout, state.total)
            y = F.silu(y + self.residual_norm(self.residual(x), layout))
        return self.dropout(y), BlockState(_side_by_side(histories), total)

    def _split(self, history: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * len(self.widths) if history is None else history.split(self.widths, dim=-1)


def _side_by_side(histories: Sequence[Tensor | None]) -> Tensor | None:
    found = [history for history in histories if history is not None]
    return torch.cat(found, dim=-1) if found else None


class ContextNet(StreamingEncoder):
    """Frontend, downsampling to 25 Hz and blocks of convolutions (arXiv 2005.03191).

    Under chunks it is that of Dual-mode ASR (ICLR 2021, section 3.1): kernels are cut at the end of
    the window, and averages run over what has been heard. Norms are LayerNorms: BatchNorm would
    make an utterance depend on the others of its batch.

    Args:
        config: Sizes.
    """

    config: ContextNetConfig
    layer_state = BlockState

    def __init__(self, config: ContextNetConfig) -> None:
        super().__init__(config)
        self.downsample = Downsample(2)
        last = len(config.channels) - 1
        widths = (config.frontend_dim, *config.channels)
        self.layers = nn.ModuleList(
            Block(
                widths[i],
                widths[i + 1],
                1 if i in (0, last) else config.num_layers,
                config,
                plain=i in (0, last),
            )
            for i in range(last + 1)
        )

    @property
    def num_layers(self) -> int:
        """Blocks."""
        return len(self.layers)

    def state_shapes(self, context: Context) -> list[dict[str, tuple[int, ...]]]:
        """What convolutions and averages need; the left context is nothing to them."""
        shapes = []
        for block, channels in zip(self.layers, self.config.channels, strict=True):
            assert isinstance(block, Block)
            shape: dict[str, tuple[int, ...]] = {
                "history": (self.config.kernel // 2, sum(block.widths))
            }
            if block.squeeze is not None:
                shape["total"] = (channels,)
            shapes.append(shape)
        return shapes

    def _encode(
        self, x: Tensor, layout: Layout, states: Sequence[BlockState]
    ) -> tuple[Tensor, list[BlockState]]:
        """(B, K, W, D0) at 50 Hz -> (B, K, W, D) at 25 Hz, and the new states."""
        x = self.downsample(x, layout)
        layout = layout.at(2)
        new_states = []
        for block, state in zip(self.layers, states, strict=True):
            x, new_state = block(x, layout, state)
            new_states.append(new_state)
        return x, new_states
