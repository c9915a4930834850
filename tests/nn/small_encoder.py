"""Encoders of every kind with random weights that make context matter."""

from __future__ import annotations

from dataclasses import replace

import torch

from zipformer import ZipformerConfig
from zipformer.model import build_encoder
from zipformer.nn.baselines.config import ConformerConfig, ContextNetConfig, TransformerConfig
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.nn.streaming_encoder import StreamingEncoder

TINY = ZipformerConfig(
    downsampling=(1, 2, 4, 8, 4, 2),
    num_layers=(1, 1, 1, 1, 1, 1),
    dims=(16, 24, 32, 40, 32, 24),
    unmasked_dims=(16,) * 6,
    query_head_dim=(8,) * 6,
    pos_head_dim=(4,) * 6,
    value_head_dim=(6,) * 6,
    num_heads=(2, 2, 2, 4, 2, 2),
    feedforward_dims=(24, 32, 48, 56, 48, 32),
    kernels=(31, 31, 15, 15, 15, 31),
    pos_dim=24,
    frontend_channels=(4, 8, 16),
)
CONFORMER = ConformerConfig(
    num_layers=2,
    dim=24,
    num_heads=2,
    feedforward_dim=48,
    kernel=7,
    pos_dim=24,
    dual_norm=True,
    frontend_channels=(4, 8, 16),
)
TRANSFORMER = TransformerConfig(
    num_layers=2,
    dim=24,
    num_heads=2,
    feedforward_dim=48,
    pos_dim=24,
    frontend_channels=(4, 8, 16),
)
CONTEXTNET = ContextNetConfig(
    channels=(16, 24, 24, 32),
    num_layers=2,
    kernel=5,
    squeeze=4,
    dual_norm=True,
    frontend_channels=(4, 8, 16),
)
KINDS: dict[str, EncoderConfig] = {
    "zipformer": TINY,
    "conformer": CONFORMER,
    "transformer": TRANSFORMER,
    "contextnet": CONTEXTNET,
}
ABLATIONS: dict[str, EncoderConfig] = {
    "no_downsampling": ZipformerConfig(
        downsampling=(1,),
        num_layers=2,
        dims=24,
        unmasked_dims=16,
        query_head_dim=8,
        pos_head_dim=4,
        value_head_dim=6,
        num_heads=2,
        feedforward_dims=32,
        kernels=7,
        pos_dim=24,
        frontend_channels=(4, 8, 16),
        input_downsampling=2,
    ),
    "conformer_blocks": replace(TINY, block="conformer_pair"),
    "no_nonlin": replace(TINY, nonlin_attention=False),
    "no_sharing": replace(TINY, nonlin_attention=False, share_attention=False),
    "no_bypass": replace(TINY, bypass=False),
    "layer_norm": replace(TINY, norm="layer_norm"),
    "swoosh_r": replace(TINY, activation="swoosh_r"),
    "swish": replace(TINY, activation="swish"),
    "module_norms": replace(TINY, module_norms=True),
}
ENCODERS = KINDS | ABLATIONS
BASELINES = [kind for kind in KINDS if kind != "zipformer"]
# Where baselines and some ablations need larger weights for context to matter as much.
GAINS = {"frontend.conv": 2.0, "self_attn.in_proj": 2.0, "squeeze.": 8.0}


def expressive_encoder(config: EncoderConfig = TINY, seed: int = 0) -> StreamingEncoder:
    """In eval mode. Initial weights hide mistakes, since their outputs hardly depend on context;
    weights much larger than these amplify rounding instead."""
    generator = torch.Generator().manual_seed(seed)
    encoder = build_encoder(config).eval()
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim > 1 and "chunkwise_conv_scale" not in name:
                fan_in = p[0].numel()
                p.copy_(_gain(name, config) * noise / fan_in**0.5)
            elif "log_scale" not in name:
                p.add_(0.2 * noise)
    return encoder


def _gain(name: str, config: EncoderConfig) -> float:
    choices = config.choices
    if choices.module_norms:
        return 0.85  # norms at the end of every branch amplify rounding as well
    if config.kind == "zipformer" and choices.bypass and choices.norm == "bias_norm":
        return 1.0
    rounding = 1.0 if choices.bypass else 0.7  # which holds its growth back
    return rounding * next((gain for part, gain in GAINS.items() if part in name), 1.0)
