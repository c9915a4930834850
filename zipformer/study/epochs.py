"""The figure of a study that shows how fast its runs learn: validation loss over epochs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from zipformer.report.axis import Axis, value_axis, with_texts
from zipformer.report.chart import COLORS, Chart, Line, LineStyle, Mark, Point, shape
from zipformer.study.training import Training
from zipformer.training.metrics import read_metrics

STYLES: tuple[LineStyle, ...] = ("solid", "dashed", "dotted")  # where colours are used up
LOG_FROM = 8.0  # largest over smallest loss from which the axis is logarithmic
LOSS = "validation loss per output frame"


def epochs_chart(trainings: Sequence[Training]) -> Chart | None:
    """A line for each run, of means over the seeds that have come as far; None without records.

    Args:
        trainings: Of a study.
    """
    runs: dict[str, dict[int, list[float]]] = {}
    for training in trainings:
        losses = runs.setdefault(training.run.label, {})
        for epoch, loss in losses_by_epoch(training).items():
            losses.setdefault(epoch, []).append(loss)
    epochs = sorted({epoch for losses in runs.values() for epoch in losses})
    if not epochs:
        return None
    lines = [
        Line(label, i, _points(label, i, losses), STYLES[i // len(COLORS) % len(STYLES)])
        for i, (label, losses) in enumerate(runs.items())
        if losses
    ]
    ticks = epochs[:: -(-len(epochs) // 10)]
    x = Axis("epoch", epochs[0] - 0.5, epochs[-1] + 0.5, with_texts([float(e) for e in ticks]))
    values = [loss for losses in runs.values() for seeds in losses.values() for loss in seeds]
    return Chart(x, value_axis(LOSS, values, LOG_FROM), lines, [], "Validation loss over epochs")


def losses_by_epoch(training: Training) -> dict[int, float]:
    """The last validation loss of every epoch."""
    found: dict[int, float] = {}
    for record in read_metrics(training.folder / "metrics.jsonl"):
        if record.get("kind") == "valid" and isinstance(record.get("loss"), float):
            found[record["epoch"]] = record["loss"]
    return found


def _points(label: str, number: int, losses: dict[int, list[float]]) -> list[Point | None]:
    points: list[Point | None] = []
    for epoch, seeds in sorted(losses.items()):
        mean = statistics.fmean(seeds)
        mark = Mark(shape(number), f"{label}, epoch {epoch}: {mean:.4g} ({len(seeds)} seeds)")
        points.append(Point(epoch, mean, mark, max(seeds) if len(seeds) > 1 else None))
    return points
