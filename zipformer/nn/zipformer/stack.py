"""A stack: layers that run at one frame rate, between a downsampling and an upsampling."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from zipformer.nn.downsample import Downsample, upsample
from zipformer.nn.layout import Layout
from zipformer.nn.norm import Bypass
from zipformer.nn.positions import RelativePositions
from zipformer.nn.schedule import ScheduledFloat
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.nn.zipformer.conformer_block import ConformerBlock
from zipformer.nn.zipformer.layer import Layer, LayerState

WARMUP = 4000.0  # reference batches until every layer has been let in
LAYER_SKIP = 0.035  # how often a sequence skips a layer in the end, at the full frame rate


class Stack(nn.Module):
    """One stack of the encoder.

    Args:
        config: The encoder's.
        index: Which stack.
    """

    def __init__(self, config: ZipformerConfig, index: int) -> None:
        super().__init__()
        self.factor = config.downsampling[index]
        self.positions = RelativePositions(config.pos_dim)
        layer = Layer if config.block == "zipformer" else ConformerBlock
        self.layers = nn.ModuleList(
            layer(config, index, skip_rate) for skip_rate in _layer_skip_rates(config, index)
        )
        if self.factor > 1:
            self.downsample = Downsample(self.factor)
            self.out_combiner = Bypass(config.dims[index])

    def forward(
        self, x: Tensor, feature_mask: Tensor | None, layout: Layout, states: Sequence[LayerState]
    ) -> tuple[Tensor, list[LayerState]]:
        """Runs the layers at this stack's rate.

        Args:
            x: (B, K, W, D) at the rate of the encoder's input, 50 Hz as published.
            feature_mask: (B, 1, 1, D) of zeros and ones, or None.
            layout: At that rate.
            states: One per layer.

        Returns:
            (B, K, W, D) at that rate, and the new states.
        """
        start = x
        lower = layout.at(self.factor)
        if self.factor > 1:
            x = self.downsample(x, layout)
        x = x if feature_mask is None else x * feature_mask
        positions = self.positions(lower, x)
        new_states = []
        for layer, state in zip(self.layers, states, strict=True):
            x, new_state = layer(x, positions, lower, state)
            x = x if feature_mask is None else x * feature_mask
            new_states.append(new_state)
        if self.factor > 1:
            x = self.out_combiner(start, upsample(x, self.factor, start.shape[2]))
        return x, new_states


def _layer_skip_rates(config: ZipformerConfig, index: int) -> list[ScheduledFloat]:
    """Lets the layers in one after another, from the first stack to the last.

    A layer is skipped half of the time before its turn, then less and less.
    """
    stacks, layers = len(config.layers), config.layers[index]
    begin = WARMUP * (index + 1) / (stacks + 1)
    turn = WARMUP / (stacks + 1) / layers
    final = LAYER_SKIP * math.sqrt(config.downsampling[index])
    return [
        ScheduledFloat((begin + j * turn, 0.5), (begin + (j + 1) * turn, final), default=0.0)
        for j in range(layers)
    ]
