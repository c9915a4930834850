"""The figures of a study: word error rate over right context, or over latency.

A line is a run on one test set in one mode and search, at one chunk and left context where right
context varies. Its colour tells the run, how it is drawn the test set. A point is the mean over the
seeds, and a stroke from it ends at the highest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from zipformer.report.axis import Axis, value_axis, with_texts
from zipformer.report.chart import Chart, Line, LineStyle, Mark, Point, shape
from zipformer.report.wer_chart import LATENCY, LOG_FROM, rate_label
from zipformer.study.description import Horizontal, Published
from zipformer.study.summary import Row

STYLES: tuple[LineStyle, ...] = ("solid", "dashed", "dotted")  # of test sets, in their order
RIGHT = "right context in frames of 10 ms"


def rates_chart(
    rows: Sequence[Row], published: Sequence[Published], horizontal: Horizontal
) -> Chart | None:
    """The chart of these rows; None if none has a place on it.

    Args:
        rows: As ``summarize`` gives them.
        published: Numbers of others, drawn hollow.
        horizontal: What the horizontal axis shows.
    """
    groups = _groups(rows, horizontal)
    if not groups:
        return None
    values = [_value(row, horizontal) for members in groups.values() for row in members]
    axis, place_of_full = _axis(horizontal, values)
    names = without_common(list(groups))
    runs = list(dict.fromkeys(row.run.name for row in rows))
    sets = list(dict.fromkeys(row.way.set for row in rows))
    lines = []
    for label, members in zip(names, groups.values(), strict=True):
        points = _points(members, runs.index(members[0].run.name), horizontal, place_of_full)
        style = STYLES[sets.index(members[0].way.set) % len(STYLES)]
        lines.append(Line(label, runs.index(members[0].run.name), points, style))
    rates = [wer for members in groups.values() for row in members for wer in row.wers]
    if horizontal == "latency" and not math.isnan(place_of_full):
        for i, other in enumerate(p for p in published if p.context == "full" and p.set in sets):
            mark = Mark(
                "diamond", f"{other.name}, {other.set}: {other.wer:g} ({other.source})", True
            )
            point: Point | None = Point(place_of_full, other.wer, mark)
            lines.append(Line(f"{other.name}, published", len(runs) + i, [point], "dashed"))
            rates.append(other.wer)
    label = rate_label([r for members in groups.values() for row in members for r in row.results])
    title = f"Error rate over {'right context' if horizontal == 'right' else 'latency'}"
    return Chart(axis, value_axis(label, rates), lines, [], title)


def _groups(rows: Sequence[Row], horizontal: Horizontal) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the names of their line; only what has a place on the axis."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        context = row.context
        if horizontal == "right" and context.is_full:
            continue
        names = [row.run.label, f"set {row.way.set}", row.way.right_mode, row.way.method]
        if horizontal == "right":
            names.append(f"chunk {context.chunk}, left {context.left}")
        found.setdefault(tuple(names), []).append(row)
    return found


def _value(row: Row, horizontal: Horizontal) -> float:
    """Where a row stands; infinity for full context, which has no latency."""
    if horizontal == "right":
        return row.context.right
    latency = row.context.latency_ms
    return math.inf if latency is None else latency


def _axis(horizontal: Horizontal, values: Sequence[float]) -> tuple[Axis, float]:
    """The axis, and where full context stands on it, if it does."""
    finite = sorted({value for value in values if value < math.inf})
    if horizontal == "right":
        axis = value_axis(RIGHT, finite)
        return Axis(axis.label, axis.low, axis.high, with_texts(finite)), math.nan
    if not finite:
        return Axis(LATENCY, 0, 1, [(0.5, "full")]), 0.5
    axis = value_axis(LATENCY, finite, LOG_FROM, from_zero=False)
    return axis.with_place("full") if math.inf in values else (axis, math.nan)


def _points(
    rows: Sequence[Row], color: int, horizontal: Horizontal, place_of_full: float
) -> list[Point | None]:
    points: list[Point | None] = []
    for row in sorted(rows, key=lambda row: (_value(row, horizontal), row.context.chunk)):
        x = _value(row, horizontal)
        high = max(row.wers) if len(row.wers) > 1 else None
        mark = Mark(shape(color), _title(row), not row.results[0].streamable and x < math.inf)
        points.append(Point(place_of_full if x == math.inf else x, row.mean, mark, high))
    return points


def _title(row: Row) -> str:
    """What a mark says to who points at it."""
    seeds = ", ".join(f"{wer:.2f}" for wer in row.wers)
    return (
        f"{row.run.label}, set {row.way.set}, {row.context}, {row.way.right_mode}, "
        f"{row.way.method}: {row.mean:.2f} % ({seeds})"
    )


def without_common(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Each line's words in those places where the lines differ; the first always."""
    columns = list(zip(*rows, strict=True))
    differ = [i == 0 or len(set(column)) > 1 for i, column in enumerate(columns)]
    return [", ".join(w for w, shown in zip(row, differ, strict=True) if shown) for row in rows]
