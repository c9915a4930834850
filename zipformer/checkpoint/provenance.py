"""Which code and which data made a model and a result."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TypedDict

from zipformer.checkpoint.fingerprint import training_data_fingerprint
from zipformer.config import DataConfig, RunConfig


class Provenance(TypedDict):
    """Where trained weights come from; plain values, as a checkpoint keeps them.

    ``git_commit`` is that of the code that trained, ``data`` the fingerprint of what it trained on;
    None where that is unknown.
    """

    git_commit: str | None
    data: str | None


def training_provenance(config: RunConfig) -> Provenance:
    """To be asked when training begins, and kept in its checkpoints."""
    return {"git_commit": git_commit(), "data": training_data_fingerprint(config.data)}


def known_provenance(stored: Provenance | None, data: DataConfig) -> Provenance:
    """What a checkpoint kept; of an older one the data as its manifests now are, if they are."""
    return stored or {"git_commit": None, "data": training_data_fingerprint(data)}


def git_commit() -> str | None:
    """Commit of the checkout that this package runs from, ``-dirty`` appended if files differ.

    None if it does not run from a checkout of its own (an installed package, or no git).
    """
    root = Path(__file__).resolve().parents[2]
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:  # a package installed inside another project
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "zipformer")
    return f"{commit}-dirty" if commit and changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
