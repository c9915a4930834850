"""An encoder's state in the form that sherpa-onnx keeps it: a flat list of tensors, time first.

sherpa-onnx builds the first state itself from an export's metadata, and hands states on by position
without looking at names, so that order and shapes are the contract. ``EncoderState`` has the
stream's axis first and frames before channels everywhere.

Letters: N streams, L left context, D channels, k kernel; at the frame rate of the layer's stack.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from zipformer.nn.state import EncoderState
from zipformer.nn.zipformer.layer import LayerState

FRONTEND_CHANNELS = 128  # of embed_states; sherpa-onnx knows no other number
BATCH_AXES = {  # of each cache of a layer, in order
    "cached_key": 1,  # (L, N, heads * query dim)
    "cached_nonlin_attn": 1,  # (1, N, L, 3 D / 4)
    "cached_val1": 1,  # (L, N, heads * value dim)
    "cached_val2": 1,
    "cached_conv1": 0,  # (N, D, k // 2)
    "cached_conv2": 0,
}


def state_axes(num_layers: int) -> dict[str, int]:
    """Name and batch axis of every tensor of a state, in order.

    Args:
        num_layers: Over all stacks.
    """
    axes = {f"{name}_{i}": BATCH_AXES[name] for i in range(num_layers) for name in BATCH_AXES}
    return axes | {"embed_states": 0, "processed_lens": 0}


def to_list(state: EncoderState) -> list[Tensor]:
    """The state's tensors as sherpa-onnx orders and shapes them.

    The frontend's part comes with as many channels as sherpa-onnx expects, zeros after its own.
    """
    tensors: list[Tensor] = []
    for layer in state.layers:
        tensors += [layer.key.transpose(0, 1), layer.nonlin.unsqueeze(0)]
        tensors += [layer.value1.transpose(0, 1), layer.value2.transpose(0, 1)]
        tensors += [layer.conv1.transpose(1, 2), layer.conv2.transpose(1, 2)]
    missing = FRONTEND_CHANNELS - state.frontend.shape[1]
    return [*tensors, F.pad(state.frontend, (0, 0, 0, 0, 0, missing)), state.processed]


def from_list(tensors: Sequence[Tensor], frontend_channels: int) -> EncoderState:
    """The state of ``to_list``'s tensors.

    Args:
        tensors: In order.
        frontend_channels: How many of the frontend's channels the encoder has.
    """
    *caches, frontend, processed = tensors
    layers = []
    for start in range(0, len(caches), len(BATCH_AXES)):
        key, nonlin, value1, value2, conv1, conv2 = caches[start : start + len(BATCH_AXES)]
        layers.append(
            LayerState(
                key.transpose(0, 1),
                nonlin.squeeze(0),
                value1.transpose(0, 1),
                value2.transpose(0, 1),
                conv1.transpose(1, 2),
                conv2.transpose(1, 2),
            )
        )
    return EncoderState(frontend[:, :frontend_channels], processed, layers)
