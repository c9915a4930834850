"""What the interpreter runs must also compile, and its launch hand over what it was given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")

ROOT = Path(__file__).parents[3]
# Volta, Ampere, Hopper, and Blackwell for servers and for desks. Volta and its neighbour Turing
# calculate in bfloat16 nowhere; kernels only store it, and the compiler rounds with integers there.
CAPABILITIES = [70, 80, 90, 100, 120]
DTYPES = ["float32", "bfloat16", "float16"]
# What comes with the oldest torch that pyproject.toml allows; and a numpy of its time, for the
# interpreter.
OLDEST_TORCH, OLDEST_TRITON, ITS_NUMPY = "torch>=2.7", "triton==3.3.0", "numpy==2.2.6"

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def defined() -> set[str]:
    """Modules and names of the kernels that are launched."""
    sources = Path(kernels.__file__).parent.glob("*.py")
    lines = [(path.stem, line) for path in sources for line in path.read_text().splitlines()]
    names = [(module, line[4:].split("(")[0]) for module, line in lines if line.startswith("def ")]
    return {f"{module} {name}" for module, name in names if name.endswith("_kernel")}


def output(tmp_path: Path, *command: str | Path, **variables: str | Path) -> str:
    """What a Python process prints that compiles kernels anew."""
    cache = {"TRITON_CACHE_DIR": str(tmp_path / "cache"), "TRITON_INTERPRET": "0"}
    environment = {**os.environ, **cache, **{k: str(v) for k, v in variables.items()}}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compiles(tmp_path: Path, capability: int, dtypes: list[str], **variables: Path) -> None:
    script = "tests.ops.kernels.compile_for_cuda"
    printed = output(tmp_path, script, str(capability), *dtypes, **variables)
    assert len(defined()) >= 10 and set(printed.splitlines()) == defined()


def launches(tmp_path: Path, **variables: Path) -> None:
    folder = tmp_path / "driver"
    folder.mkdir()
    found = {"TRITON_LIBCUDA_PATH": folder, "LD_LIBRARY_PATH": folder}
    script = "tests.ops.kernels.launch_for_cuda"
    printed = output(tmp_path, script, folder, **found, **variables)
    assert set(printed.splitlines()) == defined()


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the oldest triton; skips where it cannot be downloaded."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert OLDEST_TORCH in project["dependencies"], "and which triton comes with that?"
    folder = tmp_path_factory.mktemp("oldest")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, OLDEST_TRITON, ITS_NUMPY], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"{OLDEST_TRITON} cannot be downloaded: {done.stderr.strip()[-200:]}")
    ask = [sys.executable, "-c", "import triton; print('triton==' + triton.__version__)"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    version = subprocess.run(ask, capture_output=True, text=True, env=environment)
    assert version.stdout.strip() == OLDEST_TRITON
    return folder


def test_every_kernel_compiles_for_cuda(tmp_path: Path) -> None:
    compiles(tmp_path, 80, ["bfloat16"])


@pytest.mark.long
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel_compiles_for_every_gpu(tmp_path: Path, capability: int) -> None:
    compiles(tmp_path, capability, DTYPES)


@needs_gcc
@pytest.mark.slow
def test_a_launch_hands_over_the_arguments(tmp_path: Path) -> None:
    launches(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_the_oldest_triton_compiles_every_kernel(
    tmp_path: Path, oldest: Path, capability: int
) -> None:
    compiles(tmp_path, capability, DTYPES, PYTHONPATH=oldest)


@needs_gcc
@pytest.mark.long
def test_the_oldest_triton_hands_over_the_arguments(tmp_path: Path, oldest: Path) -> None:
    launches(tmp_path, PYTHONPATH=oldest)


@pytest.mark.long
def test_the_oldest_triton_interprets_the_kernels(tmp_path: Path, oldest: Path) -> None:
    """Its interpreter passes the other tests of this folder."""
    here = Path(__file__)
    output(tmp_path, "pytest", here.parent, f"--ignore={here}", "-x", PYTHONPATH=oldest)
