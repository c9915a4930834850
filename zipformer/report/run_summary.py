"""What a run's folder says about it, as far as it is there."""

from __future__ import annotations

import logging
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from zipformer.checkpoint.files import Checkpoint, load, newest
from zipformer.checkpoint.provenance import git_commit
from zipformer.evaluation.candidates import SELECTION, Selection, read_selection
from zipformer.evaluation.results import FIGURES
from zipformer.report.compare import Entry, collect
from zipformer.report.curves import is_number
from zipformer.tokens.scoring import ERROR_RATES
from zipformer.training.console import format_duration
from zipformer.training.metrics import Record, read_metrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSummary:
    """A run, for a page about it.

    Args:
        name: Of its folder.
        records: Those of ``metrics.jsonl``.
        entries: Results of decoding.
        selection: How a checkpoint was picked, if one was.
        config: Text of ``config.toml``, if it is there.
        facts: About the training as a whole, by name.
        environment: Where it ran and where the page was written, by name.
    """

    name: str
    records: list[Record]
    entries: list[Entry]
    selection: Selection | None
    config: str | None
    facts: dict[str, str]
    environment: dict[str, str]


def read_run(exp_dir: Path) -> RunSummary:
    """Reads a run's folder.

    Raises:
        FileNotFoundError: If it holds neither metrics nor results.
        ValueError: If a result in it is damaged.
    """
    records = [r for r in read_metrics(exp_dir / "metrics.jsonl") if is_number(r.get("step"))]
    decoded = any((exp_dir / "decode").glob(f"*/{FIGURES}"))
    if not records and not decoded:
        raise FileNotFoundError(
            f"{exp_dir} is no folder of a run: there is neither metrics.jsonl, which training "
            f"writes, nor decode/*/{FIGURES}, which scripts/decode.py writes"
        )
    config, checkpoint = exp_dir / "config.toml", _checkpoint(exp_dir)
    return RunSummary(
        name=exp_dir.resolve().name,
        records=records,
        entries=collect([exp_dir]) if decoded else [],
        selection=read_selection(exp_dir / "decode" / SELECTION),
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
        facts=_facts(records, checkpoint),
        environment=_environment(exp_dir, checkpoint),
    )


def _checkpoint(exp_dir: Path) -> Checkpoint | None:
    """The newest one; its tensors stay on the disk. None if there is none that can be read."""
    try:
        path = newest(exp_dir)
        return load(path, mmap=True) if path else None
    except (ValueError, FileNotFoundError) as error:
        logger.warning("%s", error)
        return None


def _facts(records: list[Record], checkpoint: Checkpoint | None) -> dict[str, str]:
    found: dict[str, str] = {}
    train = [r for r in records if r.get("kind") == "train"]
    valid = [r for r in records if r.get("kind") == "valid"]
    if train:
        last = train[-1]
        found["steps"] = f"{last['step']:,}"
        found["epoch"] = f"{last.get('epoch', '?')}"
        found["of the run done"] = f"{100 * last.get('done', 0):.0f} %"
        found["audio heard"] = f"{last.get('audio_hours', 0):,.1f} h"
        found["loss"] = f"{last.get('loss') or float('nan'):.4g}"
        found["steps skipped"] = f"{last.get('skipped', 0)}"
    if checkpoint is not None:
        if seconds := checkpoint.get("clock", {}).get("seconds"):
            found["training time"] = format_duration(seconds)
        size = sum(weights.numel() for weights in checkpoint["model"].values())
        found["parameters"] = f"{size / 1e6:.2f} M"
    for name in dict.fromkeys(n for r in valid for n in r):
        rate, _, context = name.partition(" ")
        values = [r[name] for r in valid if r.get(name) is not None]
        if rate in ERROR_RATES and values:
            found[f"lowest validation {rate.upper()}, {context}"] = f"{min(values):.2f} %"
    return found


def _environment(exp_dir: Path, checkpoint: Checkpoint | None) -> dict[str, str]:
    found = {}
    if place := _trained_on(exp_dir / "log.txt"):
        found["trained on"] = place
    if checkpoint is not None:
        if "torch" in checkpoint:
            found["trained with torch"] = str(checkpoint["torch"])
        provenance = checkpoint.get("provenance")
        if provenance and provenance["git_commit"]:
            found["trained by code"] = provenance["git_commit"]
    found["page written by code"] = git_commit() or "unknown"
    found["with Python, torch"] = f"{platform.python_version()}, {torch.__version__}"
    found["on"] = platform.platform()
    return found


def _trained_on(log: Path) -> str | None:
    """Device and precision, as the last start of training wrote them."""
    if not log.is_file():
        return None
    text = log.read_text(encoding="utf-8", errors="replace")
    places = re.findall(r"INFO training in .* on (\S+, \S+)$", text, re.MULTILINE)
    return places[-1] if places else None
