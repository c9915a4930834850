"""What the interpreter runs must also compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")

ROOT = Path(__file__).parents[3]


def defined() -> set[str]:
    """Modules and names of the kernels that are launched."""
    sources = Path(kernels.__file__).parent.glob("*.py")
    lines = [(path.stem, line) for path in sources for line in path.read_text().splitlines()]
    names = [(module, line[4:].split("(")[0]) for module, line in lines if line.startswith("def ")]
    return {f"{module} {name}" for module, name in names if name.endswith("_kernel")}


def test_every_kernel_compiles_for_cuda(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.kernels.compile_for_cuda"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert len(defined()) >= 10 and set(done.stdout.splitlines()) == defined()
