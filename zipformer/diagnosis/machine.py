"""What is installed, which GPUs there are, and whether kernels can be made for them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sysconfig
from contextlib import suppress
from pathlib import Path

import torch
from torch.distributed import is_nccl_available

from zipformer import ops
from zipformer.checkpoint.provenance import git_commit
from zipformer.diagnosis.check import Found, Setting, Skip
from zipformer.training.precision import Precision

PACKAGES = ("torch", "triton", "lhotse", "sentencepiece", "numpy", "unified-zipformer", "k2")


def versions(setting: Setting) -> Found:
    """What a bug report has to name."""
    facts = {"Python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            facts[name] = importlib.metadata.version(name)
    facts |= {"commit": git_commit() or "unknown", "CUDA of torch": torch.version.cuda or "none"}
    cudnn = torch.backends.cudnn.version()
    facts["cuDNN"] = "none" if cudnn is None else str(cudnn)
    facts["backend of operations"] = ops.backend()
    facts["CPU threads"] = str(torch.get_num_threads())
    if setting.device == "cuda":
        nccl = torch.cuda.nccl.version() if is_nccl_available() else ("none",)
        facts["NCCL"] = ".".join(map(str, nccl))
        facts["driver"] = _driver()
    return Found(f"torch {facts['torch']}, CUDA {facts['CUDA of torch']}", facts)


def cards(setting: Setting) -> Found:
    """Which GPUs there are, and whether this build of torch has code for them."""
    facts, formats = {}, []
    for i in range(torch.cuda.device_count()):
        precision = Precision("cuda", "auto", local_rank=i)  # refuses a card it has no code for
        found = torch.cuda.get_device_properties(i)
        memory = found.total_memory / 2**30
        facts[f"GPU {i}"] = f"{found.name}, sm_{found.major}{found.minor}, {memory:.0f} GiB"
        formats.append(precision.name)
        total = torch.arange(1000, device=precision.device).sum().item()
        if total != 499_500:
            raise ArithmeticError(f"cuda:{i} says that 0 + ... + 999 is {total}")
    return Found(f"{'; '.join(facts.values())}; train.precision = auto is {formats[0]}", facts)


def compiler(setting: Setting) -> Found:
    """What Triton needs to launch a kernel: a C compiler, and the headers of this Python."""
    asked = os.environ.get("CC")
    found = shutil.which(asked) if asked else shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    missing = []
    if found is None:
        missing.append("no C compiler was found: install gcc, or name one in CC")
    if not header.exists():
        missing.append(f"{header} is missing: install python3-dev or python3-devel")
    if missing and setting.device == "cpu":
        raise Skip(f"only kernels for a GPU need it; {'; '.join(missing)}")
    if missing:
        raise FileNotFoundError("; ".join(missing))
    return Found(f"{found}, {header}")


def probe(setting: Setting) -> Found:
    """Whether the first kernel that is launched gives the right numbers."""
    reason = ops.probe(torch.device(setting.device))
    if reason:
        raise RuntimeError(f"Triton kernels are not used: {reason}")
    return Found("Triton kernels are used")


def _driver() -> str:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.CalledProcessError, IndexError):
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[0].strip()
    return "unknown (no nvidia-smi)"
