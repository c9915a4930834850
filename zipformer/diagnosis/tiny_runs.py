"""Whole runs of a second or two, on a corpus that is written for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor, nn

from zipformer.checkpoint.files import load, step_path
from zipformer.config import (
    ContextConfig,
    DataConfig,
    LossConfig,
    ModelConfig,
    RunConfig,
    ScheduleConfig,
    SpecAugmentConfig,
    TrainConfig,
    ValidationConfig,
)
from zipformer.data.batch import Batch
from zipformer.diagnosis.check import Found, Setting
from zipformer.diagnosis.speech import TINY, write_cuts, write_tokenizer
from zipformer.training.asr import AsrTask
from zipformer.training.loop import fit
from zipformer.training.methods.base import StepInfo

STEPS = 6
STOP = 3  # the step in which the signal comes
# How far two runs may lie apart that should be one, in parts of the way that the weights have gone.
# On CUDA sums are added up in any order, and small gradients, whose sign then is chance, make steps
# of full length.
ON_CUDA = 0.05
EXACT = 0.0
VOCAB_SIZE = 100


class Changes(TypedDict, total=False):
    """Settings of ``train`` that differ from those of ``tiny_config``."""

    max_steps: int
    accumulate: int
    save_every: int
    oom: Literal["stop", "skip"]


def tiny_config(corpus: Path, exp_dir: Path, device: str, **changes: Unpack[Changes]) -> RunConfig:
    """A run over ``write_corpus(corpus)``; contexts, augmentation and heads as real ones have."""
    train = TrainConfig(
        exp_dir=exp_dir,
        max_steps=STEPS,
        log_every=1,
        save_every=STEPS,
        average_every=1,
        device="cuda" if device == "cuda" else "cpu",
        tensorboard=False,
    )
    return RunConfig(
        encoder=TINY,
        model=ModelConfig(predictor_dim=16, joiner_dim=16, ctc=True),
        context=ContextConfig(chunk=(32, -1), left=(64,), right=(0, 32), right_mode="mixed"),
        loss=LossConfig(warm_steps=4, ctc_scale=0.2),
        schedule=ScheduleConfig(ref_seconds=1.0),
        data=DataConfig(
            train=(corpus / "train.jsonl.gz",),
            valid=(corpus / "valid.jsonl.gz",),
            bpe_model=corpus / "bpe.model",
            max_duration=6.0,
            num_buckets=2,
            num_workers=int(device == "cuda"),
            spec_augment=SpecAugmentConfig(time_warp=20, max_time_width=10),
        ),
        train=replace(train, **changes),
        validation=ValidationConfig(contexts=("32/64/32",), wer_cuts=2),
    )


def write_corpus(folder: Path, cuts: int = 16) -> Path:
    """Token set, training and validation cuts in ``folder``."""
    write_tokenizer(folder / "bpe.model", VOCAB_SIZE)
    write_cuts(folder, "train", cuts, seed=1)
    write_cuts(folder, "valid", 4, seed=2)
    return folder


class StoppedTask(AsrTask):
    """This process gets SIGTERM in the middle of a step."""

    def loss(
        self, model: nn.Module, batch: Batch, step: StepInfo
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As ever."""
        if step.step == STOP:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(model, batch, step)


def check_resume(setting: Setting) -> Found:
    """Trains, and trains again with a stop by a signal and a resume in between.

    Raises:
        ArithmeticError: If the two runs end with other weights.
    """
    folder = setting.subfolder("resume")
    corpus = write_corpus(folder)
    straight = tiny_config(corpus, folder / "straight", setting.device)
    fit(straight)
    parts = tiny_config(corpus, folder / "parts", setting.device)
    fit(parts, StoppedTask(parts))
    stopped = step_path(folder / "parts", STOP + 1)
    if not stopped.exists():
        raise FileNotFoundError(f"a signal in step {STOP + 1} has left no {stopped.name}")
    fit(parts)
    ours, theirs = (
        load(step_path(folder / name, STEPS))["model"] for name in ("parts", "straight")
    )
    apart = distance(ours, theirs, start_of(straight))
    return judge(apart, setting.device, f"{STEPS} steps, stopped after {STOP + 1} and resumed")


def start_of(config: RunConfig) -> Mapping[str, Tensor]:
    """The weights that a run begins with."""
    torch.manual_seed(config.train.seed)
    return AsrTask(config).build_model().state_dict()


def distance(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], start: Mapping[str, Tensor]
) -> float:
    """How far two models lie apart, in parts of the way from ``start`` to the second."""
    apart = way = 0.0
    for name, value in theirs.items():
        if value.is_floating_point():
            apart += (ours[name].double() - value.double()).square().sum().item()
            way += (value.double() - start[name].double()).square().sum().item()
    return float((apart / way) ** 0.5)


def judge(apart: float, device: str, what: str) -> Found:
    """Whether two runs that should be one are, on this device.

    Raises:
        ArithmeticError: If they are not.
    """
    bound = ON_CUDA if device == "cuda" else EXACT
    if not apart <= bound:
        raise ArithmeticError(
            f"{what}: the weights are {100 * apart:.2g} % of their way apart from those of one "
            f"run; allowed are {100 * bound:g} %"
        )
    same = "bit for bit the same" if apart == 0.0 else f"{100 * apart:.2g} % of their way apart"
    return Found(f"{what}: {same}")
