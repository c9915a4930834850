"""Which code made a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

import zipformer


def git_commit() -> str | None:
    """Commit of the checkout that this package runs from, ``-dirty`` appended if files differ.

    None if it does not run from a checkout of its own (an installed package, or no git).
    """
    root = Path(zipformer.__file__).resolve().parent.parent
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
