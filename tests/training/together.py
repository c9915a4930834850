"""Runs of several processes, for tests: real ones, connected by gloo."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor, nn
from training.tiny_corpus import tiny_asr_config
from training.tiny_task import TinyLoader, TinyTask, tiny_config

from zipformer.config import RunConfig
from zipformer.data.batch import Batch, collate
from zipformer.data.sampler import Share
from zipformer.model import AsrModel
from zipformer.training import heartbeat, lost
from zipformer.training.asr import AsrTask
from zipformer.training.distributed import Processes
from zipformer.training.loop import fit
from zipformer.training.methods.base import StepInfo


def run_together(function: Callable[..., None], world_size: int, *args: Any) -> None:
    """Calls ``function(*args)`` in so many processes, as torchrun would."""
    mp.start_processes(
        _enter, (function, world_size, _free_port(), args), world_size, start_method="spawn"
    )


def run_unwatched(function: Callable[..., None], *args: Any) -> list[int | None]:
    """The same in two processes that nobody ends when one dies: the exit status of each.

    The second is ended when the first has ended; None if the first does not within a minute.
    """
    inner = (function, 2, _free_port(), args)
    started = mp.start_processes(_enter, inner, 2, join=False, start_method="spawn")
    for process, seconds in zip(started.processes, (60, 5), strict=True):
        process.join(seconds)
    found = [process.exitcode for process in started.processes]
    for process in started.processes:
        process.kill()
        process.join()
    return found


def _enter(rank: int, function: Callable[..., None], size: int, port: int, args: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    function(*args)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def fit_tiny(exp_dir: Path, task: dict[str, Any] | None = None, **train: Any) -> None:
    """``fit`` with a ``TinyTask``."""
    fit(tiny_config(exp_dir, **train), TinyTask(**(task or {})))


class TroubledTask(TinyTask):
    """In the last process alone memory runs out at step 2, and the loss is infinite at step 4."""

    def loss(self, model: Any, batch: Any, step: StepInfo) -> Any:
        loss, info = super().loss(model, batch, step)
        if int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
            if step.step == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            if step.step == 4:
                info["loss"] = loss = loss * float("inf")
        return loss, info


def fit_in_trouble(exp_dir: Path) -> None:
    """Skips what cannot be computed."""
    fit(tiny_config(exp_dir, max_steps=6, save_every=1, oom="skip"), TroubledTask())


class RankTask(TinyTask):
    """Something happens at step 9 in process 1 alone.

    Args:
        how: ``kill`` ends it as the system does when memory runs out, ``stop`` stops it, ``fail``
            raises; ``warn`` sends SIGTERM to its parent.
    """

    def __init__(self, how: str, **task: Any) -> None:
        super().__init__(**task)
        self.how, self.rank = how, 0

    def build_loader(self, share: Share) -> TinyLoader:
        self.rank = share.rank
        return super().build_loader(share)

    def loss(self, model: Any, batch: Any, step: StepInfo) -> Any:
        if self.rank == 1 and step.step == 9:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            if self.how == "warn":
                os.kill(os.getppid(), signal.SIGTERM)
            if self.how == "fail":
                raise KeyError("no such thing")
        return super().loss(model, batch, step)


def fit_and_die(exp_dir: Path, how: str) -> None:
    """``fit`` with a ``RankTask``, and little patience."""
    hurry()
    fit(tiny_config(exp_dir), RankTask(how, pause=0.02))


def hurry() -> None:
    """Processes that are silent for 4 seconds count as gone, not 40."""
    heartbeat.INTERVAL, heartbeat.SILENCE, heartbeat.SILENCE_AFTER_FAILURE = 0.5, 4.0, 1.5
    lost.GRACE = 2.0


class StoppedTask(TinyTask):
    """The last process gets a signal at step 9."""

    def loss(self, model: Any, batch: Any, step: StepInfo) -> Any:
        last = int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1
        self.kill = 9 if last else None
        return super().loss(model, batch, step)


def fit_stopped(exp_dir: Path) -> None:
    """Ends after step 10."""
    fit(tiny_config(exp_dir), StoppedTask())


class PlainTask(AsrTask):
    """Speech recognition in float64, without anything random or adaptive inside the model.

    In float32 the rounding of gradients that are nearly zero decides over steps of full length.
    """

    def build_model(self) -> AsrModel:
        return super().build_model().double()

    def loss(
        self, model: nn.Module, batch: Batch, step: StepInfo
    ) -> tuple[Tensor, dict[str, Tensor]]:
        model.eval()  # no Balancer, Whiten, dropout or skip
        return super().loss(model, replace(batch, features=batch.features.double()), step)

    def validate(self, model: nn.Module, processes: Processes) -> dict[str, float]:
        return {"loss": 0.0}


class JoinedTask(PlainTask):
    """The two batches of a step as one."""

    def build_loader(self, share: Share) -> Any:
        assert share == Share()
        return _Joined(super().build_loader(Share(accumulate=2)))


class _Joined:
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def epoch(self, epoch: int, start_step: int = 0) -> Any:
        batches = self.loader.epoch(epoch, start_step)
        return map(_join, batches, batches)


def _join(first: Batch, second: Batch) -> Batch:
    features = [
        row[:length]
        for batch in (first, second)
        for row, length in zip(batch.features, batch.feature_lens.tolist(), strict=True)
    ]
    tokens, texts = first.tokens + second.tokens, first.texts + second.texts
    return collate(features, tokens, texts, first.cut_ids + second.cut_ids)


def asr_config(corpus: Path, exp_dir: Path, **train: Any) -> RunConfig:
    """Two epochs without augmentation, clipping not reached."""
    config = tiny_asr_config(corpus, exp_dir, **train)
    quiet = replace(config.data.spec_augment, prob=0.0)
    return replace(config, data=replace(config.data, spec_augment=quiet))


def fit_twice(one: Path, other: Path) -> None:
    """Two runs of the same processes, one after another."""
    for exp_dir in (one, other):
        fit_tiny(exp_dir, max_steps=2)


def fit_speech(corpus: Path, exp_dir: Path, plain: bool, train: dict[str, Any]) -> None:
    """``fit`` with the tiny recognizer."""
    config = asr_config(corpus, exp_dir, **train)
    fit(config, (PlainTask if plain else AsrTask)(config))
