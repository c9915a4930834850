"""A released model, wherever it lies: read, measured, and its vocabulary found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zipformer.model import AsrModel
from zipformer.released import hub
from zipformer.released.averages import Range, averaged
from zipformer.released.foreign import seems_to_be
from zipformer.released.names import rename_published
from zipformer.released.places import choose_weights, files_in, find_tokens, graphs_with
from zipformer.released.reading import PublishedFile, read_published
from zipformer.released.sizes import Architecture, architecture_of
from zipformer.tokens import Tokenizer, open_tokenizer

GRAPH_SUFFIX = ".onnx"
SHOWN = 6  # names in a message
# Of use in training alone; what lacks them recognises as well.
LOSS_PARTS = ("simple_am_proj.", "simple_lm_proj.")


@dataclass(frozen=True)
class Released:
    """A model that others trained.

    Args:
        name: Where it comes from, for people.
        label: What it is, for names of folders and tables.
        architecture: Its sizes and heads.
        weights: Under our names; they may still lie on the disk.
        tokenizer: What its tokens are.
        notes: What to tell the user, a line each.
        steps: Training steps that it has had; 0 if that is not stored.
    """

    name: str
    label: str
    architecture: Architecture
    weights: Mapping[str, Tensor]
    tokenizer: Tokenizer
    notes: tuple[str, ...] = ()
    steps: int = 0


def read_released(source: str, tokens: Path | None = None, wanted: Range | None = None) -> Released:
    """Reads a released model.

    Args:
        source: A ``.pt`` or ``.safetensors`` file, a folder, ``hf:OWNER/NAME[@REVISION]``, or the
            graph (``.onnx``, float32) of a streaming encoder.
        tokens: Its vocabulary; looked for beside the weights if not given.
        wanted: For the folder of a training: which checkpoints to average.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is no Zipformer, is damaged or refused, or if weights, settings and
            vocabulary do not belong together.
        ImportError: If the hub is named and its package is missing.
    """
    path = hub.fetch(hub.HubModel.parse(source)) if source.startswith(hub.PREFIX) else Path(source)
    path = path.expanduser()
    if not path.exists():
        hint = f"; a model of the hub is written hf:{source}" if source.count("/") == 1 else ""
        raise FileNotFoundError(f"{source} does not exist{hint}")
    file = _read(path, wanted)
    if {"model", "config", "files"} <= file.content.keys():
        raise ValueError(f"{file.path} is a run of this package: every verb takes it as it is")
    weights, others = rename_published(file.weights)
    if not any(name.endswith(".self_attn_weights.in_proj.weight") for name in weights):
        raise ValueError(
            f"{file.path} holds no Zipformer that can be taken: by the names of its parameters it "
            f"is {seems_to_be(file.weights)}; it has {_shown(file.weights)}"
        )
    try:
        architecture = architecture_of(weights, file.settings)
        added = _complete(weights, architecture)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from None
    tokenizer = _tokenizer(file.path, path, tokens, architecture.vocab_size)
    if architecture.model.attention_decoder:
        tokenizer.check_sentences()
    notes = [*_notes(file, others, added), *architecture.assumed]
    if file.path.suffix == GRAPH_SUFFIX:
        from zipformer.released.graph_check import compare_with_graph

        notes.append(compare_with_graph(weights, architecture, file.path))
    steps = file.content.get("batch_idx_train", 0)
    return Released(
        name=source,
        label="released" if wanted is None else wanted.label,
        architecture=architecture,
        weights=weights,
        tokenizer=tokenizer,
        notes=tuple(notes),
        steps=steps if isinstance(steps, int) else 0,
    )


def _read(path: Path, wanted: Range | None) -> PublishedFile:
    if path.is_dir() and wanted is not None:
        return averaged(path, wanted)
    if wanted is not None:
        raise ValueError(f"{path} is one file: --epoch, --iter and --avg need a training's folder")
    if path.is_dir():
        try:
            path = path / choose_weights(files_in(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return _read_graphs(path) if path.suffix == GRAPH_SUFFIX else read_published(path)


def _read_graphs(path: Path) -> PublishedFile:
    try:
        from zipformer.released.graph import read_graphs
    except ImportError as error:
        raise ImportError(
            f"{path} is a graph, which needs the packages onnx and onnxruntime ({error}); install "
            "them with: pip install -e '.[export]' in this project's folder"
        ) from None
    parts = graphs_with(str(path), map(str, path.parent.iterdir()))
    return read_graphs({part: Path(name) for part, name in parts.items()})


def _complete(weights: dict[str, Tensor], architecture: Architecture) -> list[str]:
    """Compares with a model of that architecture; adds what only training needs, as zeros.

    Returns:
        Names of what was added.

    Raises:
        ValueError: Naming the first parameters that differ.
    """
    with torch.device("meta"):
        model = AsrModel(architecture.encoder, architecture.vocab_size, architecture.model)
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    added = [n for n in own if n not in weights and n.startswith(LOSS_PARTS)]
    weights.update({name: torch.zeros(own[name]) for name in added})
    different = [f"{name} is missing" for name in own if name not in weights]
    different += [
        f"{name} is {tuple(weights[name].shape)}, which should be {shape}"
        for name, shape in own.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    different += [f"{name} is in no Zipformer" for name in weights if name not in own]
    if different:
        listed = "; ".join(different[:SHOWN])
        raise ValueError(
            f"{len(different)} parameters contradict the sizes that the others tell: {listed}"
        )
    return added


def _tokenizer(weights: Path, source: Path, given: Path | None, vocab_size: int) -> Tokenizer:
    if given is not None:
        tokenizer = open_tokenizer(given)
        if tokenizer.vocab_size != vocab_size:
            raise ValueError(
                f"{given} has {tokenizer.vocab_size} tokens, but the model has {vocab_size}"
            )
        return tokenizer
    folders = [weights.parent, weights.parent.parent]
    try:
        return find_tokens([*folders, source] if source.is_dir() else folders, vocab_size)
    except ValueError as error:
        raise ValueError(f"{error}. Give the right one: --tokens FILE") from None


def _notes(file: PublishedFile, others: Mapping[str, Tensor], added: list[str]) -> list[str]:
    notes = []
    if others:
        notes.append(f"left out, as no head here has them: {_shown(others)}")
    if added:
        notes.append("no projections for the pruned loss: fine-tuning begins with zeros there")
    if file.placeholders:
        notes.append(f"objects left unread, nothing imported: {', '.join(file.placeholders)}")
    return notes


def _shown(names: Mapping[str, object]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(list(names)[:SHOWN]) or "nothing") + more
