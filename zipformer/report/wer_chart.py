"""Word error rate over algorithmic latency.

One line for each run, checkpoint, search, test set and mode; the shape of a mark tells its chunk.
What no stream can produce is drawn hollow and dashed. Full context has no latency and gets a place
of its own, to which a dotted line leads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from zipformer.evaluation.results import Result
from zipformer.report.axis import Axis, value_axis
from zipformer.report.chart import Chart, Line, Mark, Point, shape
from zipformer.report.compare import Entry

TITLE = "Word error rate over algorithmic latency"
LATENCY = "algorithmic latency in ms: 10 x (chunk + right + 13 frames)"
RATES = {"word": "word error rate in %", "char": "character error rate in %"}
MIXED = "error rate in %"  # of words and characters
LOG_FROM = 4.0  # largest over smallest latency from which the axis is logarithmic


def wer_chart(entries: Sequence[Entry], short_labels: bool = False) -> Chart:
    """The chart of these results.

    Args:
        entries: At least one, as ``collect`` returns them.
        short_labels: Whether labels leave out what all lines share.
    """
    x, place_of_full = _latency_axis(entries)
    shapes = _shapes(entries)
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_names(entry), []).append(entry)
    labels = _without_common(list(groups)) if short_labels else [", ".join(n) for n in groups]
    colors: dict[tuple[str, ...], int] = {}
    lines: list[Line] = []
    for (names, members), label in zip(groups.items(), labels, strict=True):
        color = colors.setdefault(names[:-1], len(colors))  # modes share it
        lines += _lines(label, color, members, shapes, place_of_full)
    meanings = [
        Mark(drawn_as, "full" if chunk < 0 else f"chunk {chunk} ({10 * chunk} ms)")
        for chunk, drawn_as in shapes.items()
    ]
    results = [entry.result for entry in entries]
    y = value_axis(rate_label(results), [result.wer for result in results])
    return Chart(x, y, lines, meanings, TITLE)


def rate_label(results: Sequence[Result]) -> str:
    """What the vertical axis shows of these results."""
    units = {result.unit for result in results}
    return RATES.get(units.pop(), MIXED) if len(units) == 1 else MIXED


def _names(entry: Entry) -> tuple[str, ...]:
    """What all points of a line share; the mode comes last."""
    r = entry.result
    return (entry.run, r.model, r.method, f"set {r.set}", r.right_mode)


def _without_common(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Each row's words in those columns where the rows differ; all of them of a single row."""
    columns = zip(*rows, strict=True)
    differ = [len(rows) == 1 or len(set(column)) > 1 for column in columns]
    return [
        ", ".join(word for word, shown in zip(row, differ, strict=True) if shown) for row in rows
    ]


def _shapes(entries: Sequence[Entry]) -> dict[int, str]:
    """Shapes of marks by chunk, full context last."""
    chunks = sorted({e.context.chunk for e in entries}, key=lambda c: (c < 0, c))
    return {chunk: shape(i) for i, chunk in enumerate(chunks)}


def _latency_axis(entries: Sequence[Entry]) -> tuple[Axis, float]:
    """The axis, and where full context stands on it, if it does."""
    latencies = [e.result.latency_ms for e in entries if e.result.latency_ms is not None]
    if not latencies:
        return Axis(LATENCY, 0, 1, [(0.5, "full")]), 0.5
    axis = value_axis(LATENCY, latencies, LOG_FROM, from_zero=False)
    if len(latencies) == len(entries):
        return axis, math.nan
    return axis.with_place("full")


def _lines(
    label: str, color: int, entries: Sequence[Entry], shapes: dict[int, str], place_of_full: float
) -> Iterator[Line]:
    """The line through the latencies, and the one that leads to full context."""
    points: list[Point | None] = []
    full: list[Point | None] = []
    ordered = sorted(entries, key=lambda e: (e.result.latency_ms or math.inf, e.context.chunk))
    for entry in ordered:
        ms = entry.result.latency_ms
        mark = Mark(shapes[entry.context.chunk], _title(entry), _is_hollow(entry))
        point = Point(place_of_full if ms is None else ms, entry.result.wer, mark)
        (full if ms is None else points).append(point)
    if any(_is_hollow(entry) for entry in entries):
        yield Line(f"{label} (hollow: not streamable)", color, points, "dashed")
    else:
        yield Line(label, color, points or full)
    if points and full:
        last = points[-1]
        assert last is not None
        yield Line("", color, [Point(last.x, last.y), *full], "dotted")


def _is_hollow(entry: Entry) -> bool:
    return not entry.result.streamable and not entry.context.is_full


def _title(entry: Entry) -> str:
    """What a mark says to who points at it."""
    return (
        f"{entry.run}, {entry.result.model}, set {entry.result.set}: "
        f"{entry.result.errors} at {entry.context} ({entry.latency}), {entry.mode}"
    )
