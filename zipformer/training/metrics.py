"""The figures of a run: built as one dictionary, written to files, formatted for a person.

``metrics.jsonl`` gets one line per logged step (``kind`` is ``train``) and one per validation
(``valid``), TensorBoard the same numbers. Losses are per output frame (25 Hz), so that batches of
different sizes compare.
"""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zipformer.context import Context
from zipformer.files import replacing
from zipformer.training.console import format_duration
from zipformer.training.distributed import Processes
from zipformer.training.state import TrainState

logger = logging.getLogger(__name__)

Record = dict[str, Any]  # a line of JSON: numbers, texts and null

# Everything in a ``train`` record but the parts of the loss, whose names the task chooses.
NOT_A_PART = frozenset(
    "kind step epoch batch loss lr grad_norm clipped context right_mode audio_hours skipped done "
    "hours_per_hour eta_seconds memory_mb balancer whiten".split()
)


class LossWindow:
    """Sums of what the steps since the last log line reported.

    They stay on the device and in their process, so that logging makes no step wait; a checkpoint
    takes them along, so that the first line after a resume says what it would have said anyway.

    Args:
        processes: Whose sums belong together; all of them read and save the window together.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.sums: dict[str, Tensor] = {}

    def add(self, info: dict[str, Tensor], context: Context | None = None) -> None:
        """Takes the sums of one step; its loss also counts for its context."""
        for name, value in info.items():
            self._add(name, value)
        for kind in _kinds(context) if context is not None else ():
            self._add(f"loss/{kind}", info["loss"])
            self._add(f"frames/{kind}", info["frames"])

    def count(self, name: str, value: float) -> None:
        """Takes a number of one step that is the same in all processes; its mean is reported."""
        mine = value if self.processes.is_main else 0.0
        self._add(f"mean/{name}", torch.tensor(mine))
        self._add(f"steps/{name}", torch.tensor(float(self.processes.is_main)))

    def take(self) -> dict[str, float]:
        """Means since the last call, losses per output frame; starts a new window."""
        self._merge()
        sums = {name: value.item() for name, value in self.sums.items()}
        self.sums = {}
        means = {}
        for name, value in sums.items():
            kind, _, rest = name.partition("/")
            if kind == "mean":
                means[rest] = value / max(sums[f"steps/{rest}"], 1.0)
            elif kind not in ("steps", "frames"):
                frames = sums.get(f"frames/{rest}" if rest else "frames", 0.0)
                means[name] = value / max(frames, 1.0)
        return means

    def state_dict(self) -> dict[str, Tensor]:
        """The sums by name, of all processes in the main one."""
        self._merge()
        return dict(self.sums)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes the sums over."""
        self.sums = dict(state) if self.processes.is_main else {}

    def _add(self, name: str, value: Tensor) -> None:
        value = value.detach().double()
        if name in self.sums:
            value = self.sums[name].to(value.device) + value
        self.sums[name] = value

    def _merge(self) -> None:
        if self.processes.world_size == 1:
            return
        names = sorted({name for found in self.processes.gather(list(self.sums)) for name in found})
        mine = [self.sums[name].item() if name in self.sums else 0.0 for name in names]
        total = self.processes.sum(*mine)
        values = total if self.processes.is_main else [0.0] * len(names)
        self.sums = {
            name: torch.tensor(value, dtype=torch.float64)
            for name, value in zip(names, values, strict=True)
        }


def _kinds(context: Context) -> tuple[str, ...]:
    """What the losses of steps with such a context are collected under."""
    if context.is_full:
        return ("full",)
    return (f"chunk {context.chunk}", f"right {context.right}")


class SpeedMeter:
    """Speed and remaining time, measured since this process began."""

    def __init__(self, audio_seconds: float, done: float) -> None:
        self._began = self._marked = time.monotonic()
        self._marked_seconds = audio_seconds
        self._done_before = done

    def mark(self, audio_seconds: float) -> float:
        """Hours of audio per hour since the last mark."""
        now = time.monotonic()
        speed = (audio_seconds - self._marked_seconds) / max(now - self._marked, 1e-9)
        self._marked, self._marked_seconds = now, audio_seconds
        return speed

    def remaining(self, done: float) -> float:
        """Seconds until the end if it goes on like this; infinite if that is not known."""
        progress = done - self._done_before
        if progress <= 0:
            return float("inf")
        return (time.monotonic() - self._began) * (1 - done) / progress


class MetricsWriter:
    """Writes records to ``metrics.jsonl`` and to TensorBoard.

    What an earlier process wrote after the checkpoint that this one goes on from will be run
    again, and is taken out first.

    Args:
        exp_dir: Folder of the run.
        state: Where the run goes on.
        tensorboard: Whether to write event files to ``exp_dir/tensorboard``.
    """

    def __init__(self, exp_dir: Path, state: TrainState, tensorboard: bool) -> None:
        self.path = exp_dir / "metrics.jsonl"
        last_step = {"train": state.step, "valid": state.valid_step}
        kept = [r for r in read_metrics(self.path) if r["step"] <= last_step[r["kind"]]]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(map(_to_line, kept)), encoding="utf-8")
        self._file = open(self.path, "a", encoding="utf-8", buffering=1)
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._board = SummaryWriter(exp_dir / "tensorboard", purge_step=state.step + 1)

    def write(self, record: Record) -> None:
        """Writes one record; its numbers become curves named ``kind/name``."""
        self._file.write(_to_line(record))
        if self._board is None:
            return
        for name, value in record.items():
            if isinstance(value, int | float) and name != "step":
                self._board.add_scalar(f"{record['kind']}/{name}", value, record["step"])

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[Record]:
    """The records of a ``metrics.jsonl``, without a line that a killed process left torn."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            logger.warning("%s: unreadable line dropped: %.40s", path, line)
    return records


def train_record(
    state: TrainState,
    losses: dict[str, float],
    drawn: Mapping[str, float | str],
    done: float,
    pace: SpeedMeter,
) -> Record:
    """What is known at a log step.

    Args:
        state: Counters after the step.
        losses: Per output frame, mean since the last record.
        drawn: What belongs to this one step: ``lr``, ``grad_norm``, ``context``, ``right_mode``,
            and what the regularizers did last.
        done: Share of the run that is done.
        pace: Measures speed and remaining time.
    """
    return {
        "kind": "train",
        "step": state.step,
        "epoch": state.epoch,
        "batch": state.batch,
        **losses,
        **drawn,
        "audio_hours": state.audio_seconds / 3600,
        "skipped": state.skipped,
        "done": done,
        "hours_per_hour": pace.mark(state.audio_seconds),
        "memory_mb": peak_memory_mb(),
        "eta_seconds": pace.remaining(done),
    }


def peak_memory_mb() -> float:
    """The most memory this process has held: of the CUDA device, without one of the machine."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def format_train(record: Record) -> str:
    """One readable line of a ``train`` record."""
    names = [name for name in record if name not in NOT_A_PART and "/" not in name]
    parts = ", ".join(f"{name} {record[name]:.4g}" for name in names)
    line = (
        f"step {record['step']} ({100 * record['done']:.1f} %, epoch {record['epoch']})  "
        f"loss {record.get('loss', float('nan')):.4g}{f' ({parts})' if parts else ''}  "
        f"lr {record['lr']:.3g}  context {record['context']} {record['right_mode']}  "
        f"{record['hours_per_hour']:.0f} h audio/h  ETA {format_duration(record['eta_seconds'])}"
    )
    return line + (f"  skipped {record['skipped']}" if record["skipped"] else "")


def valid_record(state: TrainState, figures: dict[str, float]) -> Record:
    """What a validation found."""
    return {"kind": "valid", "step": state.step, "epoch": state.epoch, **figures}


def format_valid(record: Record) -> list[str]:
    """Readable lines of a ``valid`` record: of all sets together, then of each of several."""
    lines: dict[str, list[str]] = {"": []}
    for name in record:
        if name not in ("kind", "step", "epoch"):
            of_set, _, figure = name.rpartition(": ")
            lines.setdefault(of_set, []).append(f"{figure} {record[name]:.4g}")
    title = f"validation at step {record['step']} (epoch {record['epoch']})"
    return [
        f"{title}{f', {of_set}' if of_set else ''}: {'  '.join(figures)}"
        for of_set, figures in lines.items()
    ]


def _to_line(record: Record) -> str:
    # JSON knows neither infinity (remaining time unknown) nor NaN (gradients of a skipped batch).
    unknown = {k for k, v in record.items() if isinstance(v, float) and not math.isfinite(v)}
    return json.dumps({k: None if k in unknown else v for k, v in record.items()}) + "\n"
