"""Checkpoint files: written whole or not at all, read without trusting them, loaded strictly.

A checkpoint is a dictionary of tensors and plain values, see ``Checkpoint``. An experiment's folder
holds ``epoch-N.pt`` for every epoch and the newest ``checkpoint-STEP.pt``.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from torch import Tensor, nn

from zipformer.checkpoint.averaging import AverageState
from zipformer.checkpoint.provenance import Provenance
from zipformer.config.toml import Plain
from zipformer.files import replacing

WEIGHTS = "model.pt"  # of a run that is one model: exported, or adopted from others


class Position(TypedDict):
    """What others than resuming need to know of ``zipformer.training.state.TrainState``."""

    step: int
    audio_seconds: float


class Checkpoint(TypedDict):
    """What a checkpoint holds; older ones and exported weights lack what is not required.

    There are parts that only resuming reads besides: ``whitening``, ``optimizer``, ``scheduler``,
    ``scaler`` and ``window``.
    """

    model: dict[str, Tensor]  # weights by name (float32)
    config: Mapping[str, Plain]  # resolved, so that decoding and export need no flags
    files: dict[str, str]  # SHA-256 of what belongs to the model and lies beside the checkpoint
    state: Position
    average: NotRequired[AverageState]
    clock: NotRequired[dict[str, float]]  # ``seconds`` that training has taken
    provenance: NotRequired[Provenance | None]  # the code and the data that the run began with
    torch: NotRequired[str]  # the version that wrote it
    label: NotRequired[str]  # what exported weights are: ``epoch30-avg9``


def save(path: Path, content: Mapping[str, object]) -> None:
    """Writes ``content`` to ``path`` whole or not at all, and onto the disk."""
    try:
        with replacing(path, durable=True) as temporary, open(temporary, "wb") as file:
            torch.save(content, file)
    except BaseException as error:
        error.add_note(f"while writing {path}; checkpoints written before are intact")
        raise


def load(path: Path, mmap: bool = False) -> Checkpoint:
    """Reads a checkpoint onto the CPU, as data only: a file that would run code is refused.

    Args:
        path: The file.
        mmap: Leaves the tensors on the disk until they are touched.

    Raises:
        FileNotFoundError: Listing the checkpoints that are there.
        ValueError: If the file is damaged or holds more than tensors and plain values.
    """
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in path.parent.glob("*.pt"))) or "none"
        raise FileNotFoundError(f"{path} does not exist; checkpoints in that folder: {there}")
    try:
        content: Checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it is damaged, or holds objects that could run code when loaded "
            "(a checkpoint has only tensors, numbers, texts, lists and dictionaries)"
        ) from error
    except (RuntimeError, EOFError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); delete it, and what runs next takes an earlier one"
        ) from error
    if not isinstance(content, dict) or not {"model", "config"} <= content.keys():
        raise ValueError(f"{path} is not a checkpoint of a training run: no 'model' and 'config'")
    return content


def load_weights(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Fills ``model``; every name and shape must fit.

    Raises:
        ValueError: If ``weights`` are of another architecture, listing the first differences.
    """
    own = model.state_dict()
    differences = [f"{name}: only in the checkpoint" for name in weights if name not in own]
    for name, value in own.items():
        if name not in weights:
            differences.append(f"{name}: missing in the checkpoint")
        elif weights[name].shape != value.shape:
            stored, wanted = tuple(weights[name].shape), tuple(value.shape)
            differences.append(f"{name}: {stored} in the checkpoint, {wanted} in the model")
    if differences:
        listed = "".join(f"\n  {line}" for line in differences[:8])
        raise ValueError(
            f"{source} is a checkpoint of another architecture; {len(differences)} parameters "
            f"differ:{listed}"
        )
    model.load_state_dict(weights)


def sha256(path: Path) -> str:
    """Hash of a file's content, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def epoch_path(exp_dir: Path, epoch: int) -> Path:
    """The checkpoint at the end of ``epoch`` (from 1)."""
    return exp_dir / f"epoch-{epoch}.pt"


def step_path(exp_dir: Path, step: int) -> Path:
    """The checkpoint after ``step`` batches."""
    return exp_dir / f"checkpoint-{step}.pt"


def epochs_in(exp_dir: Path) -> list[int]:
    """Numbers of the ``epoch-N.pt`` that exist, rising."""
    return numbers(exp_dir.glob("epoch-*.pt"))


def steps_in(exp_dir: Path) -> list[int]:
    """Numbers of the ``checkpoint-STEP.pt`` that exist, rising."""
    return numbers(exp_dir.glob("checkpoint-*.pt"))


def newest(exp_dir: Path) -> Path | None:
    """The checkpoint that saw most steps; of two that saw as many, the one of the epoch."""
    candidates = [step_path(exp_dir, n) for n in steps_in(exp_dir)[-1:]]
    candidates += [epoch_path(exp_dir, n) for n in epochs_in(exp_dir)[-1:]]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    by_step, by_epoch = (load(path, mmap=True)["state"]["step"] for path in candidates)
    return candidates[1] if by_epoch >= by_step else candidates[0]


def numbers(paths: Iterable[Path]) -> list[int]:
    """Epochs or steps of checkpoints, by their names; other files are left out."""
    matches = (re.fullmatch(r"(?:epoch|checkpoint)-(\d+)\.pt", path.name) for path in paths)
    return sorted(int(match[1]) for match in matches if match)
