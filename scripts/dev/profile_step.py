#!/usr/bin/env python3
"""Where the time of a training step goes.

    python scripts/dev/profile_step.py [--size toy|small|medium] [--precision bf16 --device cuda]

Three tables: the modules directly inside the encoder and inside its layers, forward only (time of
the device or of the CPU, children included); torch's operators over all shapes; and the single
shapes that take longest.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import bench_step, measure
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.ops.memory import keep_freed_memory
from zipformer.training.precision import Precision

SIZES = {
    "toy": (bench_step.TOY, 16, 4),
    "small": (ZipformerConfig.small(), 4, 10),
    "medium": (ZipformerConfig.medium(), 4, 10),
}
PREFIX = "module "


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--right-mode", default="masked", choices=("masked", "windowed"))
    parser.add_argument("--rows", type=int, default=25, help="operators and shapes to print")
    given = parser.parse_args()
    keep_freed_memory()
    measure.start(given)
    on_cuda = given.device.type == "cuda"
    precision = Precision("cuda" if on_cuda else "cpu", given.precision)
    watch_modules()
    step = bench_step.training_step(*SIZES[given.size], given, precision)
    step()
    step()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    with profile(activities=activities, record_shapes=True) as found:
        step()
    key = "device_time_total" if on_cuda else "cpu_time_total"
    modules = [e for e in found.key_averages() if e.key.startswith(PREFIX)]
    print(f"{'module, forward':24}{'calls':>8}{'ms':>10}")
    for event in sorted(modules, key=lambda e: -getattr(e, key)):
        name = event.key.removeprefix(PREFIX)
        print(f"{name:24}{event.count:8}{getattr(event, key) / 1e3:10.1f}")
    order = f"self_{key}"
    for by_shape in (False, True):
        averages = found.key_averages(group_by_input_shape=by_shape)
        print(averages.table(sort_by=order, row_limit=given.rows, max_shapes_column_width=60))


def watch_modules() -> None:
    """Gives every module that is no container of torch a line of its own, by its class."""
    call = nn.Module.__call__

    def watched(self: nn.Module, *args: object, **kwargs: object) -> object:
        if not type(self).__module__.startswith("zipformer"):
            return call(self, *args, **kwargs)
        with record_function(PREFIX + type(self).__name__):
            return call(self, *args, **kwargs)

    nn.Module.__call__ = watched  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
