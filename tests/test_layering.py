"""Which part of the package may know which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "zipformer"
LOW = ["nn", "losses", "ops", "masks.py", "context.py"]
HIGH = {"zipformer.data", "zipformer.training", "zipformer.decoding"}
OPTIONAL = ["k2", "torchaudio", "matplotlib", "triton", "onnx", "onnxruntime", "sherpa_onnx"]
OPTIONAL += ["websockets"]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files(name: str) -> list[Path]:
    path = PACKAGE / name
    return [path] if path.suffix else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("part", LOW)
def test_low_parts_do_not_know_high_ones(part: str) -> None:
    for path in files(part):
        above = {n for n in imports(path) if any(n == h or n.startswith(h + ".") for h in HIGH)}
        assert not above, f"{path} imports {above}"


def test_the_package_does_not_know_recipes_or_scripts() -> None:
    for path in PACKAGE.rglob("*.py"):
        outside = {n for n in imports(path) if n.split(".")[0] in ("recipes", "local", "scripts")}
        assert not outside, f"{path} imports {outside}"


def test_nobody_uses_the_global_random_module() -> None:
    for path in PACKAGE.rglob("*.py"):
        used = {name for name in imports(path) if name.split(".")[0] == "random"}
        seeded = {"random", "random.Random"}  # from random import Random: a generator of one's own
        assert not used or (used == seeded and "import random" not in path.read_text()), (
            f"{path} imports random; seed a torch.Generator"
        )


def test_importing_zipformer_imports_nothing_optional() -> None:
    code = f"import sys, zipformer; print([m for m in {OPTIONAL} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
