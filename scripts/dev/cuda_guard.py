"""Builds and loads ``cuda_guard.cpp``. Nothing here imports torch, which has to come after it."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("cuda_guard.cpp")


def missing() -> str:
    """Why fake CUDA steps cannot run here; empty if they can."""
    if sys.platform != "linux":
        return f"fake CUDA steps run on Linux, not on {sys.platform}"
    if not _has_cuda() and _compiler() is None:
        return "no C++ compiler (g++ or clang++), which a build of torch without CUDA needs for it"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return ""


def load() -> None:
    """Prepares this process for fake CUDA tensors.

    Raises:
        RuntimeError: If that cannot be done here, or comes too late.
    """
    if reason := missing():
        raise RuntimeError(reason)
    if "torch" in sys.modules:
        raise RuntimeError("torch has been imported already, and looks for its devices once only")
    if not _has_cuda():
        ctypes.CDLL(str(_built()), mode=ctypes.RTLD_GLOBAL)


def _torch() -> Path:
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _has_cuda() -> bool:
    return (_torch() / "lib" / "libtorch_cuda.so").exists()


def _compiler() -> str | None:
    return shutil.which("g++") or shutil.which("clang++")


def _built() -> Path:
    """The library for the installed torch, made once for a user."""
    of = SOURCE.read_bytes() + importlib.metadata.version("torch").encode()
    folder = Path(tempfile.gettempdir()) / f"zipformer-fake-cuda-{os.getuid()}"
    library = folder / f"guard-{hashlib.sha256(of).hexdigest()[:16]}.so"
    if library.exists():
        return library
    folder.mkdir(mode=0o700, exist_ok=True)
    temporary = library.with_suffix(f".{os.getpid()}")  # several may build it at once
    include, lib = _torch() / "include", _torch() / "lib"
    command = [_compiler(), "-O0", "-std=c++20", "-shared", "-fPIC", SOURCE, "-o", temporary]
    command += [f"-I{include}", f"-I{include}/torch/csrc/api/include"]
    command += [f"-L{lib}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{lib}"]
    made = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if made.returncode:
        raise RuntimeError(f"{SOURCE.name} does not compile with this torch:\n{made.stderr}")
    temporary.replace(library)
    return library
