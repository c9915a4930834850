"""Final-chunk latency and real-time factor of load tests as an SVG, drawn by hand.

Two panels, one above the other. From left to right go the things that were served (right contexts,
say) with a line for each number of calls; if only one thing was served, the numbers of calls go
from left to right instead. A line joins medians; the stroke above a point reaches to the 90th
percentile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from zipformer.report.wer_plot import COLORS, Axis
from zipformer.serving.load import Level

WIDTH, PANEL, GAP = 760, 260, 56
LEFT, RIGHT, TOP, LEGEND_LINE = 76, 24, 24, 20
LOG_RATIO = 20.0  # largest over smallest value from which an axis is logarithmic

Figures = Callable[[Level], tuple[float | None, float | None]]  # median and 90th percentile


@dataclass(frozen=True)
class _Layout:
    """Where a level stands: the place from left to right, and the line that it belongs to."""

    places: list[str]
    lines: list[str]
    of: Callable[[Level], tuple[str, str]]

    def x(self, place: str) -> float:
        step = (WIDTH - LEFT - RIGHT) / len(self.places)
        return LEFT + step * (self.places.index(place) + 0.5)


def load_plot(levels: Sequence[Level]) -> str:
    """The SVG element.

    Args:
        levels: At least one, in the order in which they are to stand.
    """
    layout = _layout(levels)
    panels: list[tuple[str, Figures]] = [
        ("final-chunk latency in ms", lambda level: (level.latency_p50, level.latency_p90)),
        ("real-time factor", lambda level: (level.rtf_p50, level.rtf_p90)),
    ]
    height = TOP + len(panels) * (PANEL + GAP) + LEGEND_LINE * len(layout.lines) + TOP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>Final-chunk latency and real-time factor under load</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for i, (title, figures) in enumerate(panels):
        parts += _panel(levels, layout, figures, title, TOP + i * (PANEL + GAP))
    top = TOP + len(panels) * (PANEL + GAP) + 8
    for i, line in enumerate(layout.lines):
        y, color = top + LEGEND_LINE * i, COLORS[i % len(COLORS)]
        parts.append(f'<path d="M{LEFT} {y}h30" stroke="{color}" stroke-width="2"/>')
        parts.append(_text(LEFT + 40, y + 4, line, "start"))
    return "\n".join([*parts, "</svg>"])


def _layout(levels: Sequence[Level]) -> _Layout:
    labels = list(dict.fromkeys(level.label for level in levels))
    counts = [_calls(count) for count in sorted({level.concurrency for level in levels})]
    if len(labels) == 1:
        return _Layout(counts, labels, lambda level: (_calls(level.concurrency), level.label))
    return _Layout(labels, counts, lambda level: (level.label, _calls(level.concurrency)))


def _calls(count: int) -> str:
    return f"{count} call{'s' * (count > 1)} at once"


def _panel(
    levels: Sequence[Level], layout: _Layout, figures: Figures, title: str, top: int
) -> list[str]:
    """One panel: axis, names of the places, lines, points."""
    values = [v for level in levels for v in figures(level) if v is not None and v > 0]
    bottom, right = top + PANEL, WIDTH - RIGHT
    y = _axis(values or [1.0], top)
    parts = []
    for tick in y.ticks():
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{right}" stroke="#e3e3e3"/>')
        parts.append(_text(LEFT - 8, y(tick) + 4, f"{tick:g}", "end"))
    parts += [_text(layout.x(place), bottom + 18, place, "middle") for place in layout.places]
    parts.append(f'<path d="M{LEFT} {top}V{bottom}H{right}" fill="none" stroke="#444444"/>')
    middle = top + PANEL / 2
    turned = f'transform="rotate(-90 20 {middle})"'
    parts.append(_text(20, middle, title + " (logarithmic)" * y.log, "middle", turned))
    for i, line in enumerate(layout.lines):
        members = [level for level in levels if layout.of(level)[1] == line]
        parts += _drawn(members, layout, figures, y, COLORS[i % len(COLORS)])
    return parts


def _drawn(
    levels: Sequence[Level], layout: _Layout, figures: Figures, y: Axis, color: str
) -> list[str]:
    points, parts = [], []
    for level in levels:
        median, high = figures(level)
        if median is None or high is None:
            continue
        x = layout.x(layout.of(level)[0])
        points.append(f"{x:.1f} {y(max(median, y.low)):.1f}")
        tip = f"{level.label}, {_calls(level.concurrency)}: {median:g}, 90 % below {high:g}"
        parts.append(
            f'<path d="M{points[-1]}V{y(max(high, y.low)):.1f}m-4 0h8" fill="none" '
            f'stroke="{color}"/>'
        )
        cx, cy = points[-1].split()
        parts.append(
            f'<circle cx="{cx}" cy="{cy}" r="4.5" fill="{color}">'
            f"<title>{escape(tip)}</title></circle>"
        )
    joined = f'<path d="M{"L".join(points)}" fill="none" stroke="{color}" stroke-width="2"/>'
    return [joined, *parts] if len(points) > 1 else parts


def _axis(values: Sequence[float], top: int) -> Axis:
    low, high = min(values), max(values)
    if high / low >= LOG_RATIO:
        return Axis(low / 1.2, high * 1.2, top + PANEL, top, log=True)
    return Axis(0.0, high * 1.1, top + PANEL, top)


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222" {more}>'
        f"{escape(text)}</text>"
    )
