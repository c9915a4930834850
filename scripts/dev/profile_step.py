#!/usr/bin/env python3
"""Where the time of a training step goes, by module and by operator.

    python scripts/dev/profile_step.py [--size toy|small|medium] [--precision bf16 --device cuda]

By module: seconds inside its forward pass and inside its backward pass, without what its children
take. By operator: the longest of torch's profiler.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

import bench_step
import measure

from zipformer.nn.config import ZipformerConfig
from zipformer.ops.memory import keep_freed_memory
from zipformer.training.step import Precision

SIZES = {
    "toy": (bench_step.TOY, 16, 4),
    "small": (ZipformerConfig.small(), 4, 10),
    "medium": (ZipformerConfig.medium(), 4, 10),
}


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--right-mode", default="masked", choices=("masked", "windowed"))
    parser.add_argument("--rows", type=int, default=30, help="operators to print")
    given = parser.parse_args()
    keep_freed_memory()
    measure.start(given)
    precision = Precision("cuda" if given.device.type == "cuda" else "cpu", given.precision)
    step = bench_step.training_step(*SIZES[given.size], given, precision)
    step()
    step()
    activities = [ProfilerActivity.CPU]
    if given.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities, record_shapes=True) as found:
        step()
    print(
        found.key_averages(group_by_input_shape=True).table(
            sort_by="self_cpu_time_total", row_limit=given.rows, max_shapes_column_width=60
        )
    )


if __name__ == "__main__":
    main()
