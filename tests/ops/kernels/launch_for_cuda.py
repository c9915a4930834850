"""Launches the kernels by Triton's own launcher, but with a driver that runs nothing.

    python -m tests.ops.kernels.launch_for_cuda FOLDER

A kernel that compiles may still fail when it is launched: arguments are specialised, flattened and
handed over by code that no interpreter uses, and strides in tuples are new there. The driver's
library, built from ``absent_driver.c`` into the folder, notes what it is given; that must be the
arguments of the call. Names of the kernels are printed.
"""

from __future__ import annotations

import ctypes
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from triton.backends.nvidia.driver import CudaLauncher, CudaUtils
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from tests.ops.kernels import compile_for_cuda
from tests.ops.kernels.compile_for_cuda import AbsentGpu, run

PARAMETER = re.compile(r"\.param \.[a-z](\d+)")


class SilentGpu(AbsentGpu):
    """One that takes launches too."""

    def __init__(self, capability: int) -> None:
        super().__init__(capability)
        self.utils = CudaUtils()
        self.launcher_cls = CudaLauncher


def build(folder: Path) -> ctypes.CDLL:
    """The library, loaded, and found by what Triton builds against it."""
    library = folder / "libcuda.so.1"
    source = Path(__file__).with_name("absent_driver.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    for name in ("libcuda.so", "libcuda.so.1"):  # an old Triton asks for the first
        if not (folder / name).exists():
            (folder / name).symlink_to(library)
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def flat(args: Any) -> Iterator[Any]:
    for arg in args:
        if isinstance(arg, tuple):
            yield from flat(arg)
        else:
            yield arg


def as_bits(args: Any) -> list[int]:
    """What the GPU should be given: a one is compiled into the kernel and not handed over."""
    bits = []
    for arg in flat(args):
        if isinstance(arg, torch.Tensor):
            bits.append(arg.data_ptr())
        elif isinstance(arg, float):
            bits.append(struct.unpack("<I", struct.pack("<f", arg))[0])
        elif arg != 1:
            bits.append(int(arg))
    return bits


def launch(kernel: JITFunction, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
    compiled = run(kernel, *args, grid=grid, warmup=True, **options)
    entry = compiled.asm["ptx"].split(".entry", 1)[1].split(")", 1)[0]
    sizes = [int(bits) // 8 for bits in PARAMETER.findall(entry)]
    values, num_bytes = (ctypes.c_uint64 * len(sizes))(), (ctypes.c_int * len(sizes))(*sizes)
    library.observe(len(sizes), num_bytes, values)
    before = library.launches()
    run(kernel, *args, grid=grid, warmup=False, **options)
    assert library.launches() == before + 1
    wanted = as_bits(args)
    scratch = list(values)[len(wanted) :]  # memory for the kernel itself, of which there is none
    assert list(values)[: len(wanted)] == wanted and not any(scratch), (kernel.fn.__name__, wanted)
    print(kernel.__module__.rsplit(".", 1)[1], kernel.fn.__name__)


if __name__ == "__main__":
    library = build(Path(sys.argv[1]))
    JITFunction.run = launch
    driver.set_active(SilentGpu(80))
    compile_for_cuda.everything([torch.float32], most_rows=40)
