"""The names that published checkpoints give to parameters."""

from __future__ import annotations

from zipformer import ZipformerConfig


def published_name(name: str, config: ZipformerConfig) -> str:
    """Our name of a parameter in a whole model -> the published one."""
    parts = name.split(".")
    if parts[0] == "predictor":
        return ".".join(["decoder", *parts[1:]])
    if parts[:2] == ["encoder", "frontend"]:
        index = {"conv1": "conv.0", "conv2": "conv.4", "conv3": "conv.7"}
        return ".".join(["encoder_embed", index.get(parts[2], parts[2]), *parts[3:]])
    if parts[:2] == ["encoder", "stacks"]:
        i, rest = parts[2], parts[3:]
        inner = ["encoder"] if rest[0] == "layers" and config.downsampling[int(i)] > 1 else []
        return ".".join(["encoder", "encoders", i, *inner, *rest])
    if parts[0] == "attention_decoder":
        return ".".join(["attention_decoder", "decoder", *parts[1:]])
    return name
