"""Which values of ``metrics.jsonl`` stand in which chart.

Every number of a record becomes a curve, also those that this module does not know by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from zipformer.report.axis import Axis, linear_ticks, short, value_axis, with_texts
from zipformer.report.chart import Chart, Line, LineStyle, Mark, Point, shape
from zipformer.training.metrics import NOT_A_PART, Record

# Where a run stands, rather than how it goes.
POSITION = frozenset("step epoch batch done eta_seconds audio_hours".split())
# Titles of charts by the first word of a value's name, in the order of the page.
VALIDATION = {
    "wer": "Validation: word error rate in %",
    "cer": "Validation: character error rate in %",
    "mer": "Validation: error rate in %, of characters and words",
    "loss": "Validation: loss per output frame",
}
TRAINING = {
    "parts": "Training: loss per output frame and its parts",
    "chunk": "Training: loss by chunk (frames of 10 ms)",
    "right": "Training: loss by right context (frames of 10 ms)",
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "clipped": "Share of steps with clipped gradients",
    "skipped": "Steps skipped so far",
    "balancer": "Balancer",
    "whiten": "Whiten",
    "hours_per_hour": "Hours of audio per hour",
    "memory_mb": "Peak memory in MB",
}
RATIOS = frozenset(("loss", "parts", "chunk", "right", "grad_norm"))  # more so than differences
LOG_FROM = 8.0  # largest over smallest of such values from which their axis is logarithmic
MOST_POINTS = 300  # of a curve; longer ones are drawn as means
MOST_MARKS = 40  # of a curve; longer ones have marks at only so many of their points
STYLES: tuple[LineStyle, ...] = ("solid", "dashed", "dotted")  # where colours are used up
COLORS_BEFORE_STYLES = 7

Values = list[tuple[int, float | None]]  # (step, value) by rising steps; None where there is none


def validation_charts(records: Sequence[Record]) -> dict[str, Chart]:
    """Charts of the ``valid`` records by the name of their group."""
    return _charts(records, "valid", VALIDATION, _validation_group)


def training_charts(records: Sequence[Record]) -> dict[str, Chart]:
    """Charts of the ``train`` records by the name of their group."""
    return _charts(records, "train", TRAINING, _training_group)


def curve_chart(title: str, curves: dict[str, Values], last_step: int, may_log: bool) -> Chart:
    """Values over training steps.

    Args:
        title: What is drawn, with its unit.
        curves: By name; at least one has a value, and those without any are left out.
        last_step: Where the axis ends, so that all charts of a run have the same.
        may_log: Whether a wide range is drawn on a logarithmic axis.
    """
    lines: list[Line] = []
    drawn: list[float] = []
    for name, values in curves.items():
        known = [value for _, value in values if value is not None]
        if known:
            lines.append(_line(name, len(lines), thinned(values), note=short(known[-1])))
            drawn += [point.y for point in lines[-1].points if point]
    end = max(last_step, 1)
    x = Axis("training step", 0, end, with_texts(linear_ticks(0, end)))
    return Chart(x, value_axis(title, drawn, LOG_FROM if may_log else math.inf), lines, [])


def is_number(value: object) -> bool:
    """Whether it can be drawn: a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def thinned(values: Values) -> Values:
    """At most ``MOST_POINTS`` points: means of as many neighbours, at the step of the last."""
    size = -(-len(values) // MOST_POINTS)
    if size <= 1:
        return values
    thin: Values = []
    for start in range(0, len(values), size):
        part = values[start : start + size]
        known = [value for _, value in part if value is not None]
        thin.append((part[-1][0], sum(known) / len(known) if known else None))
    return thin


def _line(name: str, number: int, values: Values, note: str) -> Line:
    """A curve with gaps where there is no value."""
    style = STYLES[number // COLORS_BEFORE_STYLES % len(STYLES)]
    every = -(-len(values) // MOST_MARKS)
    points: list[Point | None] = []
    for i, (step, value) in enumerate(values):
        if value is None:
            points.append(None)
        else:
            mark = Mark(shape(number), f"{name} at step {step}: {value:.5g}")
            points.append(Point(step, value, mark if i % every == 0 else None))
    return Line(name, number, points, style, note)


def _charts(
    records: Sequence[Record], kind: str, titles: dict[str, str], group_of: Callable[[str], str]
) -> dict[str, Chart]:
    of_kind = [r for r in records if r.get("kind") == kind]
    names = dict.fromkeys(
        name for r in of_kind for name, v in r.items() if is_number(v) and name not in POSITION
    )
    groups: dict[str, dict[str, Values]] = {name: {} for name in titles}
    for name in names:
        values = [
            (r["step"], r[name] if is_number(r[name]) else None) for r in of_kind if name in r
        ]
        if name != "skipped" or any(value for _, value in values):  # a line of zeros says nothing
            groups.setdefault(group_of(name), {})[name] = values
    last_step = max((r["step"] for r in records), default=0)
    return {
        group: curve_chart(_title(group, titles), curves, last_step, group in RATIOS)
        for group, curves in groups.items()
        if curves
    }


def _title(group: str, titles: dict[str, str]) -> str:
    of_set, _, figure = group.rpartition(": ")
    title = titles.get(figure, figure)
    return f"{title}, {of_set}" if of_set else title


def _validation_group(name: str) -> str:
    """Of ``wer full`` it is ``wer``; of one of several sets, ``dev-clean: wer full``, its own."""
    of_set, colon, figure = name.rpartition(": ")
    return f"{of_set}{colon}{figure.split(' ')[0]}"


def _training_group(name: str) -> str:
    kind, slash, rest = name.partition("/")
    if kind == "loss" and slash:  # loss/full, loss/chunk 32, loss/right 64
        first = rest.split(" ")[0]
        return "chunk" if first == "full" else first
    if not slash and (name == "loss" or name not in NOT_A_PART):
        return "parts"
    return next((known for known in TRAINING if name.startswith(known)), kind)
