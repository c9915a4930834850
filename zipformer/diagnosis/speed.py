"""How long training steps of the published sizes take, and what that means for LibriSpeech."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from zipformer.config import ContextConfig
from zipformer.data.batch import Batch
from zipformer.diagnosis.check import Found, Setting
from zipformer.diagnosis.speech import TINY, spread
from zipformer.diagnosis.steps import Trainer
from zipformer.nn.schedule import set_progress
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.training.out_of_memory import is_out_of_memory
from zipformer.training.precision import Precision

Size = Literal["S", "M", "L", "toy"]

EPOCH_HOURS = 2902.0  # the 960 h of LibriSpeech with copies at 0.9 and 1.1 times the speed
SECONDS = 600.0  # of audio in a batch
LONGEST = (16.0, 12.0, 8.0)  # seconds of the longest utterance, of batches in turn
WARM_UP, STEPS, PARTS = 6, 12, 6  # steps that are not timed, timed as a whole, and in parts
FINAL = 20000.0  # reference batches: dropout and skips have their last values


@dataclass(frozen=True)
class Published:
    """An epoch of LibriSpeech, three speeds included, by icefall: RESULTS.md, "zipformer".

    Pull requests 1058, 1296 and 1343 of k2-fsa/icefall; float16, not causal.
    """

    hours: float
    gpus: int
    kind: str

    def __str__(self) -> str:
        return f"{self.hours * self.gpus:.1f} GPU h ({self.hours:.2f} h on {self.gpus} {self.kind})"


# None is published for L.
PUBLISHED: dict[Size, Published] = {
    "S": Published(1.5, 2, "V100-32G"),
    "M": Published(67 / 60, 4, "V100-32G"),
}


def encoder_of(size: Size) -> ZipformerConfig:
    """The encoder of a size, causal."""
    if size == "toy":
        return TINY
    made = {"S": ZipformerConfig.small, "M": ZipformerConfig.medium, "L": ZipformerConfig.large}
    return made[size](causal=True)


def check_speed(setting: Setting, size: Size) -> Found:
    """Times steps at contexts drawn from the default menus; of less audio if memory runs out.

    ``host`` is how long the CPU takes to ask for forward and backward pass, ``device`` how long
    the GPU takes to do so. Where they are alike, the GPU waits for the CPU.
    """
    toy = size == "toy"
    menus = ContextConfig(chunk=(32,), left=(64,), right=(0, 32)) if toy else ContextConfig()
    folder = setting.subfolder("steps")
    device: Literal["cpu", "cuda"] = "cuda" if setting.device == "cuda" else "cpu"
    trainer = Trainer(folder, device, "auto", encoder_of(size), menus)
    set_progress(trainer.model, FINAL)
    seconds = 8.0 if toy else SECONDS
    while True:
        try:
            return _timed(trainer, size, seconds)
        except RuntimeError as error:
            if not is_out_of_memory(error) or seconds < SECONDS / 8:
                raise
        seconds /= 2  # outside, so that the error lets go of what it holds
        torch.cuda.empty_cache()


def _timed(trainer: Trainer, size: Size, seconds: float) -> Found:
    few = size == "toy"
    longest = [length / 8 for length in LONGEST] if few else LONGEST
    batches = [trainer.batch(spread(seconds, length)) for length in longest]
    on_cuda = trainer.precision.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    _steps(trainer, batches, 1 if few else WARM_UP)
    audio, whole = _steps(trainer, batches, 2 if few else STEPS)
    host, on_device = _parts(trainer, batches, 1 if few else PARTS)
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_cuda else 0.0
    pace = audio / whole  # hours of audio in an hour
    parameters = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    facts = {
        "size": f"{size}, {parameters:.1f} M",
        "format": trainer.precision.name,
        "batch": f"{seconds:.0f} s",
        "step ms": f"{1e3 * whole / (2 if few else STEPS):.0f}",
        "host ms": f"{1e3 * host:.0f}",
        "device ms": f"{1e3 * on_device:.0f}" if on_cuda else "-",
        "peak GiB": f"{peak:.1f}" if on_cuda else "-",
        "hours per hour": f"{pace:.0f}",
        "epoch": "-" if few else f"{EPOCH_HOURS / pace:.2f} GPU h",
        "published": "-" if few else str(PUBLISHED.get(size, "none")),
    }
    return Found(f"{pace:.0f} hours of audio an hour, {facts['step ms']} ms a step", facts)


def _steps(trainer: Trainer, batches: Sequence[Batch], count: int) -> tuple[float, float]:
    """Takes whole steps; seconds of audio in them, and that they took."""
    _finish(trainer.precision)
    start = time.perf_counter()
    audio = sum(trainer.step(batches[i % len(batches)]).seconds for i in range(count))
    _finish(trainer.precision)
    return audio, time.perf_counter() - start


def _parts(trainer: Trainer, batches: Sequence[Batch], count: int) -> tuple[float, float]:
    """Seconds to ask for forward and backward pass, and until they are done: medians."""
    asked, done = [], []
    for i in range(count):
        trainer.optimizer.zero_grad(set_to_none=True)
        step = trainer.task.draw(trainer.number + i)
        _finish(trainer.precision)
        start = time.perf_counter()
        with trainer.precision.autocast():
            loss, _ = trainer.task.loss(trainer.model, batches[i % len(batches)], step)
        trainer.precision.scaler.scale(loss).backward()
        asked.append(time.perf_counter() - start)
        _finish(trainer.precision)
        done.append(time.perf_counter() - start)
    trainer.optimizer.zero_grad(set_to_none=True)
    return statistics.median(asked), statistics.median(done)


def _finish(precision: Precision) -> None:
    if precision.device.type == "cuda":
        torch.cuda.synchronize(precision.device)
