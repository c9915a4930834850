"""A task of a few milliseconds a step, for tests of the loop: it draws random numbers (dropout),
has batches of different lengths, and can be told to go wrong at given steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zipformer.config import RunConfig, TrainConfig
from zipformer.data.sampler import Share
from zipformer.nn.schedule import ScheduledFloat
from zipformer.training.context_sampler import ContextSampler
from zipformer.training.distributed import Processes
from zipformer.training.methods.base import StepInfo

CONTEXTS = ContextSampler(RunConfig().context, RunConfig().encoder, RunConfig().train.seed)


@dataclass(frozen=True)
class TinyBatch:
    x: Tensor  # (B, 4)
    cut_ids: list[str]
    seconds: float

    def to(self, device: torch.device) -> TinyBatch:
        return replace(self, x=self.x.to(device))


class TinyLoader:
    """So many steps an epoch; ``share`` says which of its batches are this process's."""

    def __init__(self, steps_per_epoch: int, share: Share | None = None) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.share = share or Share()

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[TinyBatch]:
        torch.rand(1)  # what a DataLoader does to the global generator when it starts
        for step in range(start_step, self.steps_per_epoch):
            for position in self.share.positions:
                yield self.batch(epoch, step * self.share.batches_per_step + position)

    def batch(self, epoch: int, i: int) -> TinyBatch:
        generator = torch.Generator().manual_seed(1000 * epoch + i)
        x = torch.randn(2 + i % 3, 4, generator=generator)
        return TinyBatch(x, [f"cut-{epoch}-{i}-{j}" for j in range(len(x))], 1.25 * len(x))

    def largest(self) -> list[TinyBatch]:
        return [self.batch(1, 2)]


class TinyModel(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(4, dim)
        self.second = nn.Linear(dim, 4)
        self.rate = ScheduledFloat((0.0, 0.5), (20.0, 0.1))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        hidden = nn.functional.dropout(self.first(x).tanh(), float(self.rate), self.training)
        return self.second(hidden)


class TinyTask:
    """Learns the identity.

    Args:
        nan_loss, nan_grad: Steps whose loss, or whose gradients alone, are not finite.
        kill: Step at which the process gets ``signal_number``.
        pause: Seconds that every step sleeps.
    """

    def __init__(
        self,
        dim: int = 8,
        batches_per_epoch: int = 7,
        nan_loss: tuple[int, ...] = (),
        nan_grad: tuple[int, ...] = (),
        kill: int | None = None,
        signal_number: int = signal.SIGTERM,
        pause: float = 0.0,
        extra_files: dict[str, Path] | None = None,
    ) -> None:
        self.dim, self.batches_per_epoch = dim, batches_per_epoch
        self.nan_loss, self.nan_grad = nan_loss, nan_grad
        self.kill, self.signal_number, self.pause = kill, signal_number, pause
        self.extra_files = extra_files or {}
        self.steps: list[StepInfo] = []
        self.progress: list[float] = []

    def files(self) -> dict[str, Path]:
        return self.extra_files

    def build_loader(self, share: Share) -> TinyLoader:
        return TinyLoader(self.batches_per_epoch, share)

    def epoch_seconds(self) -> float:
        return 25.0

    def build_model(self) -> nn.Module:
        return TinyModel(self.dim)

    def initialise(self, model: nn.Module, source: Path) -> str:
        model.load_state_dict(torch.load(source, weights_only=True)["model"])
        return f"weights of {source}"

    def draw(self, step: int) -> StepInfo:
        return StepInfo(step, *CONTEXTS.sample(step))

    def heaviest(self) -> list[StepInfo]:
        return [StepInfo(0, context, mode) for context, mode in CONTEXTS.heaviest()]

    def loss(
        self, model: Any, batch: TinyBatch, step: StepInfo
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if step.step == self.kill:
            os.kill(os.getpid(), self.signal_number)
        time.sleep(self.pause)
        self.steps.append(step)
        self.progress.append(float(model.rate))
        error = (model(batch.x) - batch.x).square()
        loss = error.sum()
        if step.step in self.nan_loss:
            loss = loss * float("nan")
        if step.step in self.nan_grad:  # finite, with an infinite slope
            loss = loss + (model.second.bias - model.second.bias.detach()).abs().sqrt().sum()
        frames = torch.tensor(len(batch.x))
        info = {"loss": loss, "first": error[:, 0].sum(), "frames": frames}
        return loss, {name: value.detach() for name, value in info.items()}

    def validate(self, model: nn.Module, processes: Processes) -> dict[str, float]:
        x = torch.rand(5, 4)  # draws from the global generator, on purpose
        return {"loss": (model(torch.ones(3, 4)) - 1).square().mean().item() + 0 * x.sum().item()}


def tiny_config(exp_dir: Path, **train: Any) -> RunConfig:
    """Three epochs of seven steps, everything due often, nothing due at the same time."""
    settings: dict[str, Any] = {
        "exp_dir": exp_dir,
        "num_epochs": 3,
        "log_every": 4,
        "valid_every": 5,
        "save_every": 6,
        "average_every": 2,
        "device": "cpu",
        "tensorboard": False,
    }
    return RunConfig(train=TrainConfig(**{**settings, **train}))
