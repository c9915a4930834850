"""Whether a training step waits for the GPU where it should not."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from traceback import extract_tb

import torch

from zipformer.data.batch import Batch
from zipformer.diagnosis.check import Found, Setting
from zipformer.diagnosis.speech import spread
from zipformer.diagnosis.steps import Format, Trainer
from zipformer.nn.zipformer.config import ZipformerConfig

# As torch says it: a warning or an error, as the mode is.
WAITING = re.compile("called a synchronizing CUDA operation")
FORMATS: tuple[Format, ...] = ("bf16", "fp16")
STEPS = 3  # looked at in each format
MOST_WARM_UP = 12  # in float16 each may halve the scale of the loss


def check_waits(setting: Setting) -> Found:
    """Takes steps in which torch forbids to wait for the device.

    The few places where a step has to are marked in the code (``zipformer.waits``) and let through.

    Raises:
        RuntimeError: Naming the lines that wait.
    """
    for format in FORMATS:
        size = ZipformerConfig.small(causal=True)
        trainer = Trainer(setting.subfolder("steps"), "cuda", format, size)
        batch = trainer.batch(spread(60.0, 12.0))
        _warm_up(trainer, batch)
        found = waiting_lines(trainer, batch)
        if found:
            raise RuntimeError(f"a step in {format} waits for the device in {', '.join(found)}")
        torch.cuda.set_sync_debug_mode("error")  # a warning could be lost on its way
        try:
            trainer.step(batch)
        except RuntimeError as error:
            where = extract_tb(error.__traceback__)[-1]
            raise RuntimeError(f"{error}, in {_place(where.filename, where.lineno)}") from error
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Found(f"no wait beside the marked ones, in {' and '.join(FORMATS)}")


def _warm_up(trainer: Trainer, batch: Batch) -> None:
    """Compiles and allocates, until a step moves the weights; one that does not waits more."""
    for _ in range(MOST_WARM_UP):
        if trainer.step(batch).updated:
            return
    raise ArithmeticError(f"none of {MOST_WARM_UP} steps changed the model")


def waiting_lines(trainer: Trainer, batch: Batch) -> list[str]:
    """Where steps wait though nothing marks it: ``file:line``, each once."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(STEPS):
                trainer.step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    said = [w for w in caught if WAITING.search(str(w.message))]
    return sorted({_place(w.filename, w.lineno) for w in said})


def _place(filename: str, line: int | None) -> str:
    """Within the package where it can be: ``training/step.py:124``."""
    path = Path(filename)
    package = Path(__file__).resolve().parents[1]
    name = path.relative_to(package) if path.is_relative_to(package) else path
    return f"{name}:{line}"
