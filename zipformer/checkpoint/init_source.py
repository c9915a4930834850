"""Weights that a new run may start from, wherever they lie: a run of ours, or a published file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from zipformer.checkpoint.files import (
    epoch_path,
    epochs_in,
    step_path,
    steps_in,
)
from zipformer.checkpoint.loading import LoadedModel, load_file, load_model
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.released.names import rename_published
from zipformer.released.places import find_tokens
from zipformer.released.reading import PublishedFile, read_published

WEIGHT_FILES = ("model.pt", "pretrained.pt")  # exported by us, published by others
SHOWN = 6  # names in a message
# One row for each token.
VOCABULARY = (
    "predictor.embedding.weight",
    "joiner.output_linear.weight",
    "joiner.output_linear.bias",
    "simple_am_proj.weight",
    "simple_am_proj.bias",
    "simple_lm_proj.weight",
    "simple_lm_proj.bias",
    "ctc_output.1.weight",
    "ctc_output.1.bias",
    "attention_decoder.embed.weight",
    "attention_decoder.output_layer.weight",
    "attention_decoder.output_layer.bias",
)


@dataclass(frozen=True)
class Source:
    """Weights to start from.

    Args:
        name: Where they come from, for messages.
        weights: Under our names.
        tokens: Of its vocabulary by id, or None if it is not known.
        encoder: Sizes of its encoder, or None if only the shapes of the weights tell them.
        aed_heads: Of its attention decoder; None if it has none, or if it is not known.
        others: Names of parameters that no model of ours has.
        notes: Lines to report.
    """

    name: str
    weights: Mapping[str, Tensor]
    tokens: Sequence[str] | None = None
    encoder: EncoderConfig | None = None
    aed_heads: int | None = None
    others: Sequence[str] = ()
    notes: tuple[str, ...] = ()


def read_source(path: Path) -> Source:
    """Finds out what ``path`` is and reads it; see ``zipformer.checkpoint.initialise``.

    Raises:
        FileNotFoundError, ValueError: As ``initialise``.
    """
    if not path.exists():
        raise FileNotFoundError(f"train.init_from: {path} does not exist")
    newest = _checkpoint_in(path)
    if newest is None:
        path = _weights_in(path) if path.is_dir() else path
        file = read_published(path)
        return _from_ours(load_file(path)) if _is_ours(file.content) else _from_published(file)
    if not _is_ours(read_published(newest).content):
        raise ValueError(
            f"train.init_from: {newest} is no checkpoint of a run of this package. If it is a "
            f"published one, name a file: --init-from {newest}"
        )
    return _from_run(path)


def _is_ours(content: Mapping[str, object]) -> bool:
    return {"model", "config", "files"} <= content.keys()


def _checkpoint_in(folder: Path) -> Path | None:
    """Any checkpoint of a run; None if there is none."""
    if numbers := epochs_in(folder):
        return epoch_path(folder, numbers[-1])
    if numbers := steps_in(folder):
        return step_path(folder, numbers[-1])
    return None


def _weights_in(folder: Path) -> Path:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"train.init_from: {folder} holds nothing to start from: neither epoch-N.pt nor "
        f"checkpoint-STEP.pt of a run, nor {' nor '.join(WEIGHT_FILES)}"
    )


def _from_run(folder: Path) -> Source:
    try:
        return _from_ours(load_model(folder))
    except (ValueError, FileNotFoundError) as error:
        # No average, because the run is too young for one, say. What else is wrong shows again.
        loaded = load_model(folder, use_averaged_model=False)
        return _from_ours(loaded, (f"not averaged: {error}",))


def _from_ours(loaded: LoadedModel, notes: tuple[str, ...] = ()) -> Source:
    return Source(
        name=f"{loaded.path} ({loaded.label})",
        weights=loaded.model.state_dict(),
        tokens=loaded.tokenizer.tokens,
        encoder=loaded.config.encoder,
        aed_heads=decoder.num_heads if (decoder := loaded.model.attention_decoder) else None,
        notes=notes,
    )


def _from_published(file: PublishedFile) -> Source:
    path = file.path
    weights, others = rename_published(file.weights)
    if not any(name.startswith("encoder.") for name in weights):
        shown = ", ".join(list(file.content)[:SHOWN]) or "nothing"
        raise ValueError(f"{path} holds no Zipformer under names that are known; it has {shown}")
    size = next((len(weights[n]) for n in VOCABULARY if n in weights), 0)
    try:
        tokenizer = find_tokens([path.parent, path.parent.parent], size)
    except ValueError as error:
        tokens, note = None, f"its tokens are not known: {error}"
    else:
        tokens, note = tokenizer.tokens, f"its tokens are those of {tokenizer.path}"
    return Source(str(path), weights, tokens, others=list(others), notes=(note,))
