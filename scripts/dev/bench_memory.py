#!/usr/bin/env python3
"""How much memory joiner and pruned loss take beyond their inputs, against all logits at once.

    python scripts/dev/bench_memory.py

The cases of ``bench_loss.py``, forward and backward, once each in a process of its own; its largest
resident set less what it was before.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import bench_loss
from zipformer import ops

BACKENDS = ("fused", "reference")


def main() -> None:
    print(f"{'pruned joiner and loss':26}{'ours':>12}{'all at once':>14}{'ratio':>8}")
    for i, (b, t, u, v) in enumerate(bench_loss.SIZES):
        ours, plain = (in_own_process(i, backend) for backend in BACKENDS)
        name = f"B {b} T {t} U {u} V {v}"
        print(f"{name:26}{ours:8.0f} MiB{plain:10.0f} MiB{ours / plain:8.2f}")


def in_own_process(case: int, backend: str) -> float:
    command = [sys.executable, __file__, str(case), backend]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one(case: int, backend: str) -> None:
    work = bench_loss.pruned(bench_loss.SIZES[case], torch.device("cpu"), "torch")
    torch.randn(1000, 1000) @ torch.randn(1000, 1000)  # threads and libraries are there now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ops.use(backend):
        work()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


if __name__ == "__main__":
    one(int(sys.argv[1]), sys.argv[2]) if len(sys.argv) > 1 else main()
