"""The small reference models in the formats of released ones."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

OFFICIAL = Path(__file__).parents[1] / "assets" / "official"
KINDS = ("streaming", "offline")
# Settings as a training stores them beside the weights.
SETTINGS: dict[str, object] = {
    "num_encoder_layers": "2,1,1,2,1,1",
    "downsampling_factor": "1,2,4,8,4,2",
    "feedforward_dim": "32,40,48,64,48,40",
    "num_heads": "2,1,2,4,2,1",
    "encoder_dim": "24,32,40,48,40,32",
    "query_head_dim": "12",
    "value_head_dim": "8",
    "pos_head_dim": "4",
    "pos_dim": 24,
    "encoder_unmasked_dim": "20,24,30,36,30,24",
    "cnn_module_kernel": "31,31,15,15,15,31",
    "causal": True,
    "chunk_size": "16,32,-1",
    "left_context_frames": "64,128",
    "feature_dim": 80,
    "vocab_size": 37,
}


def weights(kind: str = "streaming") -> dict[str, Tensor]:
    """The state dict of a reference model, under published names."""
    found: dict[str, Tensor] = torch.load(OFFICIAL / kind / "model.pt", weights_only=True)
    return found


def outputs(kind: str = "streaming") -> dict[str, Tensor]:
    """What the published code computes with it, and of what."""
    return load_file(OFFICIAL / kind / "io.safetensors")
