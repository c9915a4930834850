"""How long an encoder takes for a batch, and how much memory: measured, not counted.

Each measurement has a process of its own, whose memory is that of one encoder and one batch.
"""

from __future__ import annotations

import multiprocessing
import re
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from zipformer.context import FRAME_SECONDS, Context
from zipformer.model import build_encoder
from zipformer.nn.encoder_config import EncoderConfig
from zipformer.study.counting import SECONDS
from zipformer.training.metrics import peak_memory_mb
from zipformer.training.out_of_memory import is_out_of_memory

ROUNDS = 3  # that are timed, after one that warms up
STATUS, FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # of Linux


@dataclass(frozen=True)
class Measurement:
    """What a batch took.

    Args:
        batch: Utterances in it, of 30 s each.
        seconds: That a pass took, in float32: the median of some.
        memory_gib: At the most, for weights, features and everything in between.
        device: Where that was, with the number of threads on a CPU.
        torch_version: Of the library.
    """

    batch: int
    seconds: float
    memory_gib: float
    device: str
    torch_version: str


def measure(config: EncoderConfig, context: Context, batch: int, device: str) -> Measurement:
    """Times passes of an encoder with random weights over a batch of noise.

    Args:
        config: Kind and sizes of the encoder.
        context: What it sees; right context is computed in windows.
        batch: Utterances of 30 s at once.
        device: As torch names it.

    Raises:
        MemoryError: If the batch does not fit, saying what to do.
        ValueError: If the encoder cannot compute the context.
    """
    config.check_context(context)
    spawn = multiprocessing.get_context("spawn")
    advice = f"a batch of {batch} x {SECONDS:g} s at {context} does not fit: lower --batch"
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        try:
            return process.submit(_measure, config, context, batch, device).result()
        except BrokenProcessPool:
            raise MemoryError(advice) from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(advice) from None


def _measure(config: EncoderConfig, context: Context, batch: int, name: str) -> Measurement:
    """In the process of its own."""
    device = torch.device(name)
    torch.manual_seed(0)
    before = _begin(device)
    encoder = build_encoder(config).eval().to(device)
    frames = round(SECONDS / FRAME_SECONDS)
    features = torch.randn(batch, frames, config.num_features, device=device)
    lengths = torch.full((batch,), frames, device=device)
    times = []
    with torch.inference_mode():
        for _ in range(1 + ROUNDS):
            start = time.perf_counter()
            encoder(features, lengths, context)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
    memory = (_held_mb("VmHWM", device) - before) / 2**10
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        where = f"{name}, threads {torch.get_num_threads()}"
    seconds = statistics.median(times[1:])
    return Measurement(batch, seconds, memory, where, str(torch.__version__))


def _begin(device: torch.device) -> float:
    """Memory that is held before anything is built, in MiB; peaks count from here on."""
    if device.type == "cuda":
        torch.zeros(1, device=device)
        torch.cuda.reset_peak_memory_stats(device)
        return 0.0
    if FORGET_PEAK.exists():
        FORGET_PEAK.write_text("5")
    return _held_mb("VmRSS", device)


def _held_mb(field: Literal["VmRSS", "VmHWM"], device: torch.device) -> float:
    """Memory of this process in MiB, now or at the most: on the CPU of Linux the kernel knows it.

    Elsewhere it is the most in either case.
    """
    if device.type == "cuda" or not STATUS.exists():
        return peak_memory_mb()
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found, field
    return int(found[1]) / 2**10
