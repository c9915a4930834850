"""Final-chunk latency and real-time factor under load, two charts.

From left to right go the things that were served (right contexts, say) with a line for each number
of calls; if only one thing was served, the numbers of calls go from left to right instead. A line
joins medians; the stroke above a point reaches to the 90th percentile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zipformer.report.axis import named_axis, value_axis
from zipformer.report.chart import Chart, Line, Mark, Point, shape
from zipformer.serving.load import Level

TITLE = "Final-chunk latency and real-time factor under load"
LATENCY = "final-chunk latency in ms (p50 to p90)"
REAL_TIME_FACTOR = "real-time factor (p50 to p90)"
APART = 0.05  # between the points of two lines, of the room for one place
LOG_FROM = 20.0  # largest over smallest value from which an axis is logarithmic

Percentiles = tuple[float | None, float | None]  # median and 90th; None of a level without calls


def load_charts(levels: Sequence[Level]) -> list[Chart]:
    """The charts.

    Args:
        levels: At least one, in the order in which they are to stand.
    """
    return [
        _chart(levels, LATENCY, lambda level: (level.latency_p50, level.latency_p90)),
        _chart(levels, REAL_TIME_FACTOR, lambda level: (level.rtf_p50, level.rtf_p90)),
    ]


def _chart(
    levels: Sequence[Level], label: str, percentiles: Callable[[Level], Percentiles]
) -> Chart:
    served = list(dict.fromkeys(level.label for level in levels))
    calls = [_calls(count) for count in sorted({level.concurrency for level in levels})]
    places, names = (calls, served) if len(served) == 1 else (served, calls)
    known = [v for level in levels for v in percentiles(level) if v is not None and v > 0]
    y = value_axis(label, known or [1.0], LOG_FROM)
    points: dict[str, list[Point | None]] = {name: [] for name in names}
    for level in levels:
        median, high = percentiles(level)
        if median is None or high is None:
            continue
        place, name = level.label, _calls(level.concurrency)
        if len(served) == 1:
            place, name = name, place
        title = f"{level.label}, {_calls(level.concurrency)}: {median:g}, 90 % below {high:g}"
        mark = Mark(shape(names.index(name)), title)
        # Beside each other, so that no stroke covers another one.
        x = places.index(place) + 0.5 + APART * (names.index(name) - (len(names) - 1) / 2)
        points[name].append(Point(x, max(median, y.low), mark, max(high, y.low)))
    lines = [Line(name, i, points[name]) for i, name in enumerate(names)]
    return Chart(named_axis(places), y, lines, [])


def _calls(count: int) -> str:
    return f"{count} call{'s' * (count > 1)} at once"
