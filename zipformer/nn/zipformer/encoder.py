"""The Zipformer encoder.

What is unusual here: frame rates that fall and rise again from stack to stack (a U-Net over time),
and channel counts that differ between stacks.

Letters: B batch, K windows, W frames of a window, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.context import Context
from zipformer.nn.downsample import Downsample, SameRate
from zipformer.nn.layout import Layout
from zipformer.nn.streaming_encoder import StreamingEncoder
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.nn.zipformer.layer import LayerState
from zipformer.nn.zipformer.stack import Stack

FEATURE_KEEP = 0.875  # share of the sequences that keep each outer part of the channels


class Encoder(StreamingEncoder):
    """Frontend, stacks and output downsampling.

    Args:
        config: Sizes.
    """

    config: ZipformerConfig
    layer_state = LayerState

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__(config)
        self.stacks = nn.ModuleList(Stack(config, i) for i in range(len(config.dims)))
        at_25_hz = config.input_downsampling == 2
        self.downsample_input = Downsample(2) if at_25_hz else SameRate()
        self.downsample_output = SameRate() if at_25_hz else Downsample(2)

    @property
    def num_layers(self) -> int:
        """Layers, or Conformer blocks, of all stacks."""
        return sum(self.config.layers)

    def state_shapes(self, context: Context) -> list[dict[str, tuple[int, ...]]]:
        """Keys and values of the left context at each stack's rate, and what convolutions need."""
        shapes: list[dict[str, tuple[int, ...]]] = []
        c = self.config
        for i, num_layers in enumerate(c.layers):
            left, past = context.left // 2 // c.rates[i], c.kernels[i] // 2
            key = (left, c.num_heads[i] * c.query_head_dim[i])
            value = (left, c.num_heads[i] * c.value_head_dim[i])
            conv = (past, c.dims[i])
            layer: dict[str, tuple[int, ...]] = {"key": key, "value1": value, "conv1": conv}
            if c.block == "zipformer":
                layer |= {"value2": value, "conv2": conv}
                layer |= {"nonlin": (left, 3 * c.dims[i] // 4)} if c.nonlin_attention else {}
                layer |= {} if c.share_attention else {"key2": key}
            shapes += [layer] * num_layers
        return shapes

    def _encode(
        self, x: Tensor, layout: Layout, states: Sequence[LayerState]
    ) -> tuple[Tensor, list[LayerState]]:
        """(B, K, W, D0) at 50 Hz -> (B, K, W, D) at 25 Hz, and the new states."""
        x = self.downsample_input(x, layout)
        layout = layout.at(self.config.input_downsampling)
        outputs, new_states = [], []
        masks, remaining = self._feature_masks(x), list(states)
        for i, stack in enumerate(self.stacks):
            x = _with_channels(x, self.config.dims[i])
            num_layers = self.config.layers[i]
            x, new = stack(x, masks[i], layout, remaining[:num_layers])
            remaining = remaining[num_layers:]
            outputs.append(x)
            new_states += new
        return self.downsample_output(_full_width(outputs), layout), new_states

    def _feature_masks(self, x: Tensor) -> list[Tensor | None]:
        """Takes the outer channels of all stacks away from some sequences, in training.

        One eighth of the sequences loses all channels beyond ``unmasked_dims``, one eighth of the
        others the outer half of those.

        Returns:
            (B, 1, 1, D) of zeros and ones for each stack, or None.
        """
        if not self.training:
            return [None] * len(self.stacks)
        keep = torch.rand(2, x.shape[0], 1, 1, 1, device=x.device) < FEATURE_KEEP
        inner, outer = keep[0].to(x.dtype), (keep[0] & keep[1]).to(x.dtype)
        masks: list[Tensor | None] = []
        for channels, unmasked in zip(self.config.dims, self.config.unmasked_dims, strict=True):
            half = (channels - unmasked) // 2
            parts = [
                torch.ones_like(inner).expand(-1, 1, 1, unmasked),
                inner.expand(-1, 1, 1, half),
                outer.expand(-1, 1, 1, channels - unmasked - half),
            ]
            masks.append(torch.cat(parts, dim=-1))
        return masks


def _with_channels(x: Tensor, channels: int) -> Tensor:
    """Cuts channels off, or adds zeros."""
    return F.pad(x, (0, channels - x.shape[-1]))


def _full_width(outputs: Sequence[Tensor]) -> Tensor:
    """Joins the stacks' outputs: all of the last, then what earlier ones have beyond its width."""
    parts, width = [outputs[-1]], outputs[-1].shape[-1]
    for x in reversed(outputs[:-1]):
        if x.shape[-1] > width:
            parts.append(x[..., width:])
            width = x.shape[-1]
    return torch.cat(parts, dim=-1)
