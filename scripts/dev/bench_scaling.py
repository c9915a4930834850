#!/usr/bin/env python3
"""How the cost of a training step grows: with the batch, the utterance, vocabulary and context.

    python scripts/dev/bench_scaling.py [--json] [--quick] [--device cuda --precision bf16]
    python scripts/dev/bench_scaling.py --processes 1 2 --config recipes/digits/unified.toml

Encoder steps are those of ``bench_step.py`` at size S, losses those of ``bench_loss.py``. Each
curve changes one size; ``per`` is the cost relative to the first point, divided by how much the
size has grown: 1 is proportional. For contexts it is the cost relative to the first.

With ``--processes`` whole trainings of a prepared recipe run instead, by turns, each on all cores
of a CPU shared out among so many processes: hours of audio per hour after the first quarter of
``--steps``, and relative to the first number.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from scripts.dev import bench_loss, bench_step, measure
from zipformer.context import Context
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.ops.memory import keep_freed_memory
from zipformer.training.metrics import read_metrics
from zipformer.training.precision import Precision

ROOT = Path(__file__).resolve().parents[2]
BATCHES = (2, 4, 8)  # of 10 s
SECONDS = (10, 30, 100, 300)  # one utterance
VOCABULARIES = (500, 2000, 5000)  # 8 utterances of 10 s
CONTEXTS = ("64/128/0", "64/128/64", "32/128/64", "32/128/256", "full")  # 4 x 10 s, windowed
SMALL = ZipformerConfig.small()


def main() -> None:
    parser = measure.options(__doc__ or "")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--processes", nargs="+", type=int, help="numbers of processes to compare")
    parser.add_argument("--config", type=Path, help="the recipe that they train, on a CPU")
    parser.add_argument("--steps", type=int, default=120, help="of each training")
    given = parser.parse_args()
    if given.processes:
        compare_processes(given)
        return
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


def compare_processes(given: argparse.Namespace) -> None:
    speeds: dict[int, list[float]] = {count: [] for count in given.processes}
    for _ in range(1 if given.quick else given.rounds):
        for count, found in speeds.items():
            found.append(hours_per_hour(given.config, count, given.steps))
    first = statistics.median(next(iter(speeds.values())))
    for count, found in speeds.items():
        median, runs = statistics.median(found), ", ".join(f"{speed:.1f}" for speed in found)
        print(f"{count} processes  {median:6.1f} h of audio/h  x {median / first:.2f}  ({runs})")


def hours_per_hour(config: Path, processes: int, steps: int) -> float:
    """Of a training that begins anew, without validation, from its second quarter on."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    with tempfile.TemporaryDirectory() as folder:
        options = ["--exp-dir", folder, "--max-steps", steps, "--log-every", max(steps // 4, 1)]
        options += ["--device", "cpu", "--processes", processes, "--tensorboard", "false"]
        options += ["--wer-cuts", 0, "--validation.contexts", "full"]
        words = [sys.executable, ROOT / "scripts" / "train.py", config, *options]
        subprocess.run(
            list(map(str, words)), env=environment, check=True, stderr=subprocess.DEVNULL
        )
        records = [r for r in read_metrics(Path(folder) / "metrics.jsonl") if r["kind"] == "train"]
    speeds = [float(r["hours_per_hour"]) for r in records if r["step"] > steps // 4]
    return statistics.harmonic_mean(speeds)


if __name__ == "__main__":
    main()
