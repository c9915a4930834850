#!/usr/bin/env python3
"""How much memory a training on a CPU holds as it goes on, and how fast it is.

    python scripts/dev/bench_resident.py recipes/digits/unified.toml --steps 20000

Runs ``scripts/train.py`` in a new folder with an encoder of one layer and 16 channels, small heads
and batches of 5 s, so that steps are many; ``--as-it-is`` leaves the recipe's sizes. What follows
the known options goes to training. The environment counts: begun with
``ONEDNN_PRIMITIVE_CACHE_CAPACITY=1024 LRU_CACHE_CAPACITY=1024`` it is as if training set neither.

A line: step, resident MiB of the training process, resident MiB of the processes that it started
(pages that they share counted in each), milliseconds of its processor time a step since the line
before. A step is seen when it is logged, at most a second later.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from zipformer.training.metrics import read_metrics

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
TINY = (
    "--encoder.downsampling 1 --encoder.num-layers 1 --encoder.dims 16 --encoder.unmasked-dims 16 "
    "--encoder.query-head-dim 4 --encoder.pos-head-dim 2 --encoder.value-head-dim 4 "
    "--encoder.num-heads 2 --encoder.feedforward-dims 16 --encoder.kernels 7 --encoder.pos-dim 8 "
    "--encoder.frontend-channels 2,2,4 --model.predictor-dim 16 --model.joiner-dim 16 "
    "--data.max-duration 5 --data.noise-prob 0 --validation.wer-cuts 0 --train.accumulate 1"
).split()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--every", type=int, default=500, help="steps between two lines")
    parser.add_argument("--as-it-is", action="store_true", help="leave the recipe's sizes")
    given, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(TRAIN), str(given.recipe), "--exp-dir", folder]
        command += ["--max-steps", str(given.steps), "--num-epochs", str(given.steps)]
        command += ["--log-every", str(given.every), "--device", "cpu"]
        command += [*([] if given.as_it_is else TINY), *others]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
            watch(run, Path(folder) / "metrics.jsonl")
            assert run.stderr is not None
            if run.wait() != 0:
                sys.exit(run.stderr.read().decode()[-2000:])


def watch(run: subprocess.Popen[bytes], metrics: Path) -> None:
    """Prints a line for every step that is logged, until training ends."""
    print(f"{'step':>6}{'MiB':>8}{'others':>9}{'ms a step':>11}", flush=True)
    seen, before = 0, 0.0
    while run.poll() is None:
        time.sleep(0.5)
        steps = [r["step"] for r in read_metrics(metrics) if r["kind"] == "train"]
        if not steps or steps[-1] == seen:
            continue
        try:
            own, seconds = resident(run.pid), processor_seconds(run.pid)
            started = [resident(pid) for pid in children(run.pid)]
        except OSError:  # one of them has just ended
            continue
        pace = 1000 * (seconds - before) / (steps[-1] - seen)
        speed = f"{pace:11.1f}" if seen else " " * 11  # the first one has the start in it
        print(f"{steps[-1]:6}{own:8.1f}{sum(started):9.1f}{speed}", flush=True)
        seen, before = steps[-1], seconds


def resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def processor_seconds(pid: int) -> float:
    """That a process has used itself, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def children(pid: int) -> list[int]:
    """The processes that a process has started, from any of its threads."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


if __name__ == "__main__":
    main()
