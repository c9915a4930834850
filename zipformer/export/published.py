"""A model under published names, for the programs of the icefall recipes and the authors' package.

pretrained.pt    {"model": a state dict}
tokens.txt, and the vocabulary that it was made of
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor

from zipformer.checkpoint import files
from zipformer.checkpoint.loading import LoadedModel
from zipformer.files import write_text
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.released.names import published_names

PRETRAINED = "pretrained.pt"
# What published code has no counterpart of, as it is in every published model.
NEEDED = [
    *("input_downsampling", "block", "nonlin_attention", "share_attention", "bypass", "norm"),
    *("activation", "feature_mean", "feature_std"),
]
DEAD = 0.5  # a published layer has a bypass_scale that nothing reads; what it is initialised with


def export_published(loaded: LoadedModel, directory: Path) -> Path:
    """Writes ``pretrained.pt`` and the vocabulary.

    Returns:
        The path of ``pretrained.pt``.

    Raises:
        ValueError: If published code has no such model, naming the key of the config.
    """
    _check(loaded)
    own = loaded.model.state_dict()
    names = published_names(own)
    weights: dict[str, Tensor] = {}
    for name, value in own.items():
        weights[names[name]] = value.detach().float().cpu().contiguous()
        if name.endswith(".bypass.bypass_scale"):
            dead = names[name].removesuffix("bypass.bypass_scale") + "bypass_scale"
            weights[dead] = torch.full_like(weights[names[name]], DEAD)
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = directory / loaded.tokenizer.file_name
    if not vocabulary.exists():
        shutil.copyfile(loaded.tokenizer.path, vocabulary)
    lines = [f"{token} {i}\n" for i, token in enumerate(loaded.tokenizer.tokens)]
    write_text(directory / "tokens.txt", "".join(lines))
    files.save(directory / PRETRAINED, {"model": weights})
    return directory / PRETRAINED


def _check(loaded: LoadedModel) -> None:
    config, published = loaded.config.encoder, ZipformerConfig()
    if not isinstance(config, ZipformerConfig):
        raise ValueError(f"published programs know Zipformers, not encoder.kind = {config.kind!r}")
    for key in NEEDED:
        if getattr(config, key) != getattr(published, key):
            raise ValueError(
                f"published programs have no encoder.{key} = {getattr(config, key)} (they have "
                f"{getattr(published, key)}): export this model with --format checkpoint or onnx"
            )
    if loaded.model.streaming is not None:
        raise ValueError(
            "published programs have one set of heads, this model has others for streaming "
            f"(method.kind = {loaded.config.method.kind}): export it with --format checkpoint"
        )
