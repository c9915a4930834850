#!/usr/bin/env python3
"""How the cost of a training step grows: with the batch, the utterance, vocabulary and context.

    python scripts/dev/bench_scaling.py [--json] [--quick] [--device cuda --precision bf16]

Encoder steps are those of ``bench_step.py`` at size S, losses those of ``bench_loss.py``. Each
curve changes one size; ``per`` is the cost relative to the first point, divided by how much the
size has grown: 1 is proportional. For contexts it is the cost relative to the first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import bench_loss, bench_step, measure
from zipformer.context import Context
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.ops.memory import keep_freed_memory
from zipformer.training.precision import Precision

BATCHES = (2, 4, 8)  # of 10 s
SECONDS = (10, 30, 100, 300)  # one utterance
VOCABULARIES = (500, 2000, 5000)  # 8 utterances of 10 s
CONTEXTS = ("64/128/0", "64/128/64", "32/128/64", "32/128/256", "full")  # 4 x 10 s, windowed
SMALL = ZipformerConfig.small()


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    given = parser.parse_args()
    keep_freed_memory()
    bench = measure.start(given)
    precision = Precision("cuda" if given.device.type == "cuda" else "cpu", given.precision)
    for kind, curve in (
        ("batch of 10 s", [(f"{b}", b, (b, 10), "32/128/0") for b in BATCHES]),
        ("seconds of one", [(f"{s}", s, (1, s), "32/128/0") for s in SECONDS]),
        ("windowed context", [(c, 1, (4, 10), c) for c in CONTEXTS]),
    ):
        first = 0.0
        for name, size, (batch, seconds), context in curve[: 2 if given.quick else None]:
            step = training_step(batch, seconds, Context.parse(context), given, precision)
            timing = bench.run(f"step, {kind}: {name}", step)
            first = first or timing.units / size
            timing.more["per"] = round(timing.units / size / first, 3)
    for kind, prepare in (("smoothed", bench_loss.smoothed), ("pruned", bench_loss.pruned)):
        first = 0.0
        for v in VOCABULARIES[: 2 if given.quick else None]:
            work = prepare((8, 250, 60, v), given.device, "torch")
            timing = bench.run(f"{kind} loss, vocabulary: {v}", work)
            first = first or timing.units / v
            timing.more["per"] = round(timing.units / v / first, 3)
    bench.print(given.json)


def training_step(
    batch: int, seconds: int, context: Context, given: argparse.Namespace, precision: Precision
) -> bench_step.Work:
    given.right_mode = "windowed"
    return bench_step.training_step(SMALL, batch, seconds, given, precision, context)


if __name__ == "__main__":
    main()
