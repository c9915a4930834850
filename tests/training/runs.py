"""Runs of a tiny task in processes of their own, and what runs left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from zipformer.checkpoint import files as checkpoint
from zipformer.training.metrics import read_metrics

TIMING = ("hours_per_hour", "eta_seconds", "done", "memory_mb")


ROOT = Path(__file__).parents[2]


def same(a: Any, b: Any) -> bool:
    """Whether two checkpoints hold the same, bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def stripped(path: Path) -> dict[str, Any]:
    """A checkpoint without what may differ between two starts."""
    content = checkpoint.load(path)
    del content["clock"]
    for key in ("exp_dir", "max_steps", "num_epochs"):
        del content["config"]["train"][key]
    return content


def records(exp_dir: Path) -> list[dict[str, Any]]:
    """Metrics without what depends on the clock."""
    found = read_metrics(exp_dir / "metrics.jsonl")
    return [{k: v for k, v in record.items() if k not in TIMING} for record in found]


def start(exp_dir: Path, **task: Any) -> subprocess.CompletedProcess[str]:
    """Runs ``fit`` with a ``TinyTask`` in a process of its own."""
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from training.tiny_task import TinyTask, tiny_config\n"
        "from zipformer.training.loop import fit\n"
        "fit(tiny_config(Path(sys.argv[1])), TinyTask(**json.loads(sys.argv[2])))"
    )
    return run(code, str(exp_dir), json.dumps(task))


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own."""
    paths = [str(ROOT), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
