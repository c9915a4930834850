"""What the tests of the preparation steps share."""

import subprocess
import sys
from pathlib import Path

from lhotse import CutSet
from lhotse.cut import MonoCut

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd)


def run_script(
    script: str, *arguments: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A script of this checkout, by its path in it; it finds what it imports by itself."""
    return run(sys.executable, ROOT / script, *arguments, cwd=cwd)


def read(path: Path) -> list[MonoCut]:
    return list(CutSet.from_file(path))
