"""What encoders of attending layers have in common.

Letters: B batch, K windows, W frames of a window, D channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from zipformer.nn.baselines.config import ConformerConfig, TransformerConfig
from zipformer.nn.downsample import Downsample
from zipformer.nn.layout import Layout
from zipformer.nn.positions import RelativePositions
from zipformer.nn.streaming_encoder import StreamingEncoder


class AttentionEncoder(StreamingEncoder):
    """Layers that are all alike, at 25 Hz, with one encoding of positions for all of them.

    Args:
        config: Sizes.
        layers: Modules (x, positions, layout, state) -> (x, state).
    """

    def __init__(
        self, config: ConformerConfig | TransformerConfig, layers: Iterable[nn.Module]
    ) -> None:
        super().__init__(config)
        self.downsample = Downsample(2)
        self.positions = RelativePositions(config.pos_dim)
        self.layers = nn.ModuleList(layers)

    @property
    def num_layers(self) -> int:
        """Layers after the frontend."""
        return len(self.layers)

    def _encode(self, x: Tensor, layout: Layout, states: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        """(B, K, W, D) at 50 Hz -> (B, K, W, D) at 25 Hz, and the new states."""
        x = self.downsample(x, layout)
        layout = layout.at(2)
        positions = self.positions(layout, x)
        new_states = []
        for layer, state in zip(self.layers, states, strict=True):
            x, new_state = layer(x, positions, layout, state)
            new_states.append(new_state)
        return x, new_states
