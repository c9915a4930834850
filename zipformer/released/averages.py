"""Checkpoints of a training of others, averaged as their own programs do it.

Each ``epoch-N.pt`` or ``checkpoint-STEP.pt`` may hold ``model_avg``, the mean of the weights since
the start of training over every step that ``average_period`` divides. From two of them the mean
over the steps in between follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zipformer.released.reading import PublishedFile, read_published


@dataclass(frozen=True)
class Range:
    """Which checkpoints to average.

    Args:
        epoch: Takes ``epoch-N.pt``.
        iter: Takes ``checkpoint-STEP.pt`` instead.
        avg: Over how many of them, the last one included.
    """

    epoch: int | None = None
    iter: int | None = None
    avg: int = 1

    @property
    def label(self) -> str:
        """For names of folders and tables: ``epoch30-avg9``."""
        which = f"epoch{self.epoch}" if self.iter is None else f"iter{self.iter}"
        return f"{which}-avg{self.avg}"


def averaged(folder: Path, wanted: Range) -> PublishedFile:
    """The last checkpoint of a range, its weights being the average.

    Where ``model_avg`` is missing, they are the plain mean of the checkpoints' own weights.

    Args:
        folder: Of the checkpoints; or the one that holds it as ``exp``.
        wanted: The range.

    Raises:
        FileNotFoundError: If a checkpoint is missing, listing those that exist.
        ValueError: If the range reaches beyond the start of training, or as ``read_published``.
    """
    if wanted.avg < 1:
        raise ValueError(f"--avg must be at least 1, got {wanted.avg}")
    paths = _series(_home(folder, wanted), wanted)
    last = read_published(paths[-1])
    if "model_avg" not in last.content:
        files = [read_published(path) for path in paths[-wanted.avg :]]
        return _with(last, _mean([file.weights for file in files]))
    if len(paths) == wanted.avg:  # from the start of training on
        return _with(last, {n: w.float() for n, w in _average(last).items()})
    first = read_published(paths[0])
    before, after = _steps(first), _steps(last)
    if before >= after:
        raise ValueError(
            f"{paths[0].name} and {paths[-1].name} are after {before} and {after} steps: between "
            "them nothing was averaged"
        )
    weight = after / (after - before)
    start = _average(first)
    return _with(
        last,
        {
            name: (weight * value.double() + (1.0 - weight) * start[name].double()).float()
            for name, value in _average(last).items()
        },
    )


def _home(folder: Path, wanted: Range) -> Path:
    for place in (folder, folder / "exp"):
        if any(place.glob("epoch-*.pt" if wanted.iter is None else "checkpoint-*.pt")):
            return place
    return folder


def _series(folder: Path, wanted: Range) -> list[Path]:
    """The checkpoint before the range, unless that is the start of training, and the range."""
    if wanted.iter is None:
        last = wanted.epoch or 0
        if wanted.avg > last:
            raise ValueError(
                f"--avg {wanted.avg} reaches beyond the start of training at epoch {last}"
            )
        numbers = range(max(1, last - wanted.avg), last + 1)
        paths = [folder / f"epoch-{number}.pt" for number in numbers]
    else:
        there = _numbers(folder, "checkpoint")
        steps = [step for step in there if step <= wanted.iter][-(wanted.avg + 1) :]
        if not steps or steps[-1] != wanted.iter or len(steps) <= wanted.avg:
            raise FileNotFoundError(
                f"--iter {wanted.iter} --avg {wanted.avg} takes checkpoint-{wanted.iter}.pt and "
                f"the {wanted.avg} before it; {folder} has {there or 'none'}"
            )
        paths = [folder / f"checkpoint-{step}.pt" for step in steps]
    ends = (paths[0], paths[-1])
    if missing := [path for path in ends if not path.is_file()]:
        kind = "epoch" if wanted.iter is None else "checkpoint"
        there = _numbers(folder, kind)
        raise FileNotFoundError(
            f"{missing[0]} does not exist; of {kind}-N.pt there are {there or 'none'}"
        )
    return paths


def _numbers(folder: Path, kind: str) -> list[int]:
    matches = (re.fullmatch(rf"{kind}-(\d+)\.pt", path.name) for path in folder.glob("*.pt"))
    return sorted(int(match[1]) for match in matches if match)


def _average(file: PublishedFile) -> Mapping[str, Tensor]:
    average = file.content.get("model_avg")
    if not isinstance(average, Mapping):
        raise ValueError(f"{file.path} holds no averaged weights (model_avg)")
    return average


def _steps(file: PublishedFile) -> int:
    """Training steps up to the last one that was averaged."""
    step, period = file.content.get("batch_idx_train"), file.content.get("average_period")
    if not isinstance(step, int) or not isinstance(period, int) or period < 1:
        raise ValueError(
            f"{file.path} stores batch_idx_train = {step!r} and average_period = {period!r}: "
            "without these numbers its averages cannot be told apart; take --avg 1"
        )
    return step // period * period


def _mean(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    first = models[0]
    return {
        name: torch.stack([model[name].double() for model in models]).mean(0).float()
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }


def _with(file: PublishedFile, weights: Mapping[str, Tensor]) -> PublishedFile:
    settings = {n: v for n, v in file.content.items() if n not in ("model", "model_avg")}
    return PublishedFile(file.path, {"model": dict(weights), **settings}, file.placeholders)
