#!/usr/bin/env python3
"""How much memory a training on a CPU holds as it goes on, and how fast it is.

    python scripts/dev/bench_resident.py recipes/digits/unified.toml --steps 20000
    python scripts/dev/bench_resident.py recipes/digits/unified.toml --steps 2500 --against 1024

Runs ``scripts/train.py`` in a new folder with an encoder of one layer and 16 channels, small heads
and batches of 5 s, so that steps are many; ``--as-it-is`` leaves the recipe's sizes. What follows
the known options goes to training. ``--against`` runs a second training at the same time, which
keeps convolutions prepared for so many shapes; 1024 is what PyTorch does by itself.

A line: shapes kept, step, resident MiB of the training process, resident MiB of the processes that
it started (pages that they share counted in each), milliseconds of its processor time a step since
the line before. A step is seen when it is logged, at most a second later.
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
from zipformer_cli import SHAPES_KEPT

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
    parser.add_argument("--against", metavar="SHAPES", help="keep so many in a second training")
    given, others = parser.parse_known_args()
    options = [str(given.recipe), "--max-steps", str(given.steps), "--num-epochs", str(given.steps)]
    options += ["--log-every", str(given.every), "--device", "cpu"]
    options += [*([] if given.as_it_is else TINY), *others]
    counts = [next(iter(SHAPES_KEPT.values())), *([given.against] if given.against else [])]
    print(f"{'shapes':>6}{'step':>7}{'MiB':>8}{'others':>9}{'ms a step':>11}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = [Training(count, Path(folder) / count, options) for count in counts]
        while any([run.goes_on() for run in runs]):  # each is asked, whatever the first says
            time.sleep(0.5)
    if given.against:
        ratio = runs[0].pace / runs[1].pace
        print(f"processor time a step after the first line, {' to '.join(counts)}: {ratio:.3f}")


class Training:
    """A training in a process of its own.

    Args:
        shapes: For how many it keeps convolutions prepared.
        folder: Of the run; new.
        options: For ``train.py``.
    """

    def __init__(self, shapes: str, folder: Path, options: list[str]) -> None:
        self.shapes, self.folder = shapes, folder
        folder.mkdir()
        command = [sys.executable, str(TRAIN), *options, "--exp-dir", str(folder)]
        environment = {**os.environ, **dict.fromkeys(SHAPES_KEPT, shapes)}
        with open(folder / "errors", "wb") as errors:
            self.process = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=errors
            )
        self.seen: list[tuple[int, float]] = []  # steps, and processor seconds until then

    def goes_on(self) -> bool:
        """Prints a line if a step was logged; False once training has ended."""
        if self.process.poll() is not None:
            if self.process.returncode != 0:
                sys.exit((self.folder / "errors").read_text()[-2000:])
            return False
        metrics = read_metrics(self.folder / "metrics.jsonl")
        steps = [record["step"] for record in metrics if record["kind"] == "train"]
        if steps and not (self.seen and self.seen[-1][0] == steps[-1]):
            self._look(steps[-1])
        return True

    def _look(self, step: int) -> None:
        pid = self.process.pid
        try:
            own, seconds = resident(pid), processor_seconds(pid)
            started = sum(resident(child) for child in children(pid))
        except OSError:  # one of them has just ended: at the next look
            return
        self.seen.append((step, seconds))
        speed = f"{_pace(self.seen[-2:]):11.1f}" if len(self.seen) > 1 else ""
        print(f"{self.shapes:>6}{step:7}{own:8.1f}{started:9.1f}{speed}", flush=True)

    @property
    def pace(self) -> float:
        """Milliseconds of processor time a step, without the first, which has the start in it."""
        return _pace(self.seen)


def _pace(seen: list[tuple[int, float]]) -> float:
    (first, before), (last, after) = seen[0], seen[-1]
    return 1000 * (after - before) / (last - first)


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
