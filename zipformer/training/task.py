"""What a task has to say to the loop.

The loop knows epochs, steps, checkpoints and logs; a task knows the data, the model and the loss.
A new kind of training is a new method of a task, or a new task, never a second loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zipformer.data.sampler import Share
from zipformer.training.distributed import Processes
from zipformer.training.methods.base import StepInfo


class TrainingBatch(Protocol):
    """What the loop has to know of a batch; only its task looks inside."""

    @property
    def cut_ids(self) -> Sequence[str]:
        """Names of the utterances."""
        ...

    @property
    def seconds(self) -> float:
        """Audio in it, padding not counted."""
        ...

    def to(self, device: torch.device, /) -> TrainingBatch:
        """The batch with its tensors on ``device``."""
        ...


class Loader(Protocol):
    """Batches of one epoch after another."""

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[TrainingBatch]:
        """This process's batches of ``epoch`` (from 1) from ``start_step`` on.

        They are the same in every run: ``share.accumulate`` batches for every step.
        """
        ...

    def largest(self) -> Sequence[TrainingBatch]:
        """Those of this process's batches that need most memory."""
        ...


class Task(Protocol):
    """One way of training; ``zipformer.training.asr.AsrTask`` is the first."""

    def files(self) -> dict[str, Path]:
        """Files that the model is useless without, by the name they get in the run's folder."""
        ...

    def build_loader(self, share: Share) -> Loader:
        """The training data: the part of every step's batches that ``share`` says."""
        ...

    def epoch_seconds(self) -> float:
        """Roughly the seconds of audio in an epoch, for the progress display; 0 = unknown."""
        ...

    def build_model(self) -> nn.Module:
        """A fresh model on the CPU, drawn from torch's default generator."""
        ...

    def initialise(self, model: nn.Module, source: Path) -> str:
        """Gives a fresh model the weights of another run; returns what became of them."""
        ...

    def draw(self, step: int) -> StepInfo:
        """What a step (from 0) is computed in: the same in every process and after a resume."""
        ...

    def heaviest(self) -> list[StepInfo]:
        """Of all that ``draw`` may give, what needs most memory."""
        ...

    def loss(
        self, model: nn.Module, batch: Any, step: StepInfo
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to descend, and what to log.

        Args:
            model: In training mode.
            batch: Of the task's own loader; no other task has to be able to take it.
            step: What it is computed in.

        Returns:
            The loss, a sum over the batch, not divided by anything (ScaledAdam does not care about
            its scale); and detached sums to log by name, among them ``loss`` and ``frames``, the
            number of output frames that the others are divided by in the logs.
        """
        ...

    def validate(self, model: nn.Module, processes: Processes) -> dict[str, float]:
        """Figures by name, ``loss`` (per output frame, the lower the better) among them.

        ``model`` is in evaluation mode, and gradients are off. Processes share the work, and all
        return the same.
        """
        ...
