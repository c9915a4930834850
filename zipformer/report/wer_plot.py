"""Word error rate over algorithmic latency as an SVG, drawn by hand: no plotting library needed.

One line for each run, checkpoint, mode and test set; the shape of a point tells its chunk. What
no stream can produce is drawn hollow and dashed. Full context has no latency and gets a place of
its own at the right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from zipformer.report.compare import Entry

WIDTH, PLOT_HEIGHT = 880, 400
LEFT, RIGHT, TOP, AXIS_HEIGHT = 68, 24, 24, 64
FULL_WIDTH = 84  # room for the points at full context
LEGEND_LINE = 21
LOG_RATIO = 4.0  # largest over smallest latency from which the axis is logarithmic
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#333333")
SHAPES: tuple[Callable[[float, float], str], ...] = (
    lambda x, y: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"',
    lambda x, y: f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"',
    lambda x, y: f'<path d="M{x:.1f} {y - 6:.1f}l6 10.5h-12z"',
    lambda x, y: f'<path d="M{x:.1f} {y - 6.5:.1f}l6.5 6.5l-6.5 6.5l-6.5 -6.5z"',
    lambda x, y: f'<path d="M{x:.1f} {y + 6:.1f}l6 -10.5h-12z"',
)


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels.

    Args:
        low: Value at ``start``.
        high: Value at ``end``.
        start: Pixel.
        end: Pixel.
        log: Whether equal ratios are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        scale = math.log if self.log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values from low to high."""
        if not self.log:
            return linear_ticks(self.low, self.high)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [mantissa * 10.0**p for p in powers for mantissa in (1, 1.5, 2, 3, 5, 7)]
        return [v for v in values if self.low <= v <= self.high]


@dataclass(frozen=True)
class Line:
    """The points that are joined, and how they look."""

    label: str
    color: int
    dashed: bool
    entries: list[Entry]


def linear_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round values from low to high, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def wer_plot(entries: Sequence[Entry]) -> str:
    """The SVG element for these results.

    Args:
        entries: At least one, as ``collect`` returns them.
    """
    lines = _lines(entries)
    shapes = _shapes(entries)
    x, x_full = _latency_axis(entries)
    y = _wer_axis(entries)
    height = TOP + PLOT_HEIGHT + AXIS_HEIGHT + LEGEND_LINE * (len(lines) + 1)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>Word error rate over algorithmic latency</title>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_grid(x, x_full, y),
    ]
    for line in lines:
        parts += [_colored(line.color), *_drawn(line, shapes, x, x_full, y), "</g>"]
    parts += _legend(lines, shapes)
    return "\n".join([*parts, "</svg>"])


def _lines(entries: Sequence[Entry]) -> list[Line]:
    """Points by run, model, search, set (which share a colour) and mode."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for e in entries:
        r = e.result
        groups.setdefault((e.run, r.model, r.method, r.set, r.right_mode), []).append(e)
    colors: dict[tuple[str, ...], int] = {}
    lines = []
    for (run, model, method, name, mode), members in groups.items():
        key = (run, model, method, name)
        color = colors.setdefault(key, len(colors) % len(COLORS))
        label = f"{run}, {model}, {method}, set {name}, {mode}"
        masked = any(not e.result.streamable and not e.context.is_full for e in members)
        if masked:
            label += " (hollow: not streamable)"
        ordered = sorted(members, key=lambda e: (e.result.latency_ms or math.inf, e.context.chunk))
        lines.append(Line(label, color, masked, ordered))
    return lines


def _shapes(entries: Sequence[Entry]) -> dict[int, Callable[[float, float], str]]:
    chunks = sorted({e.context.chunk for e in entries}, key=lambda c: (c < 0, c))
    return {chunk: SHAPES[i % len(SHAPES)] for i, chunk in enumerate(chunks)}


def _latency_axis(entries: Sequence[Entry]) -> tuple[Axis | None, float | None]:
    """The axis of finite latencies and the place of full context, where there are any."""
    latencies = [e.result.latency_ms for e in entries if e.result.latency_ms is not None]
    right = WIDTH - RIGHT
    x_full = None
    if len(latencies) < len(entries):
        x_full = right - FULL_WIDTH / 2
        right -= FULL_WIDTH
    if not latencies:
        return None, x_full
    low, high = min(latencies), max(latencies)
    if high / low >= LOG_RATIO:
        return Axis(low / 1.15, high * 1.15, LEFT, right, log=True), x_full
    margin = 0.08 * (high - low) or 0.2 * high
    return Axis(low - margin, high + margin, LEFT, right), x_full


def _wer_axis(entries: Sequence[Entry]) -> Axis:
    rates = [e.result.wer for e in entries]
    low, high = min(rates), max(rates)
    margin = 0.1 * (high - low) or max(0.1 * high, 0.5)
    # From zero if that does not waste more than half of the height.
    bottom = 0.0 if low < 0.55 * high else low - margin
    return Axis(bottom, high + margin, TOP + PLOT_HEIGHT, TOP)


def _grid(x: Axis | None, x_full: float | None, y: Axis) -> list[str]:
    bottom, right = TOP + PLOT_HEIGHT, WIDTH - RIGHT
    parts = []
    ticks = y.ticks()
    digits = _digits(ticks)
    for value in ticks:
        parts.append(_rule(LEFT, y(value), right, y(value)))
        parts.append(_text(LEFT - 8, y(value) + 4, f"{value:.{digits}f}", "end"))
    columns = [(x(value), f"{value:g}") for value in x.ticks()] if x else []
    columns += [(x_full, "full")] if x_full is not None else []
    for place, label in columns:
        parts.append(_rule(place, TOP, place, bottom))
        parts.append(_text(place, bottom + 18, label, "middle"))
    parts.append(
        f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#444444"/>'
    )
    scale = " (logarithmic)" if x and x.log else ""
    title = f"algorithmic latency in ms: 10 x (chunk + right + 13 frames){scale}"
    parts.append(_text((LEFT + right) / 2, bottom + 40, title, "middle"))
    middle = TOP + PLOT_HEIGHT / 2
    turned = f'transform="rotate(-90 20 {middle})"'
    parts.append(_text(20, middle, "word error rate in %", "middle", turned))
    return parts


def _drawn(
    line: Line,
    shapes: dict[int, Callable[[float, float], str]],
    x: Axis | None,
    x_full: float | None,
    y: Axis,
) -> list[str]:
    """A line and its points; a thin dotted piece leads to full context."""
    places = []
    for e in line.entries:
        ms = e.result.latency_ms
        place = x_full if ms is None or x is None else x(ms)
        assert place is not None, "full context has a place if any result has it"
        places.append((place, y(e.result.wer)))
    finite = [p for p, e in zip(places, line.entries, strict=True) if not e.context.is_full]
    whole = places[len(finite) :]
    parts = [_path(finite, "7 4" if line.dashed else "", 2)]
    parts.append(_path(finite[-1:] + whole, "1 5", 1.5))
    for (px, py), e in zip(places, line.entries, strict=True):
        solid = e.result.streamable or e.context.is_full
        fill = 'fill="currentColor"' if solid else 'class="paper" fill="#ffffff"'
        parts.append(
            f'{shapes[e.context.chunk](px, py)} {fill} stroke="currentColor" '
            f'stroke-width="1.8"><title>{escape(_tooltip(e))}</title>{_closing(e, shapes)}'
        )
    return parts


def _closing(entry: Entry, shapes: dict[int, Callable[[float, float], str]]) -> str:
    """The end tag of the shape that a chunk is drawn with."""
    return f"</{shapes[entry.context.chunk](0, 0)[1:].split()[0]}>"


def _tooltip(entry: Entry) -> str:
    return (
        f"{entry.run}, {entry.result.model}, set {entry.result.set}: "
        f"{entry.result.errors} at {entry.context} ({entry.latency}), {entry.mode}"
    )


def _legend(lines: Sequence[Line], shapes: dict[int, Callable[[float, float], str]]) -> list[str]:
    top = TOP + PLOT_HEIGHT + AXIS_HEIGHT
    parts = []
    for i, line in enumerate(lines):
        place = top + LEGEND_LINE * i
        dashes = "7 4" if line.dashed else ""
        stroke = _path([(LEFT, place), (LEFT + 34, place)], dashes, 2)
        parts.append(f"{_colored(line.color)}{stroke}</g>")
        parts.append(_text(LEFT + 44, place + 4, line.label, "start"))
    place, left = top + LEGEND_LINE * len(lines), float(LEFT)
    for chunk, shape in shapes.items():
        label = "full" if chunk < 0 else f"chunk {chunk} ({10 * chunk} ms)"
        tag = shape(0, 0)[1:].split()[0]
        parts.append(f'<g class="dim" color="#555555">{shape(left + 6, place)} ')
        parts.append(f'fill="currentColor"></{tag}></g>')
        parts.append(_text(left + 18, place + 4, label, "start"))
        left += 40 + 7.5 * len(label)
    return parts


def _colored(color: int) -> str:
    """The start tag of a group that is drawn in one of the colours."""
    return f'<g class="s{color}" color="{COLORS[color]}">'


def _path(points: Sequence[tuple[float, float]], dashes: str, width: float) -> str:
    if len(points) < 2:
        return ""
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="M{steps}" fill="none" stroke="currentColor" stroke-width="{width}"{dashed}/>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="rule" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#e3e3e3"/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return (
        f'<text class="ink" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222" {more}>'
        f"{escape(text)}</text>"
    )


def _digits(values: Sequence[float]) -> int:
    """Fewest decimals that write all values exactly."""
    return next((d for d in range(4) if all(abs(v - round(v, d)) < 1e-9 for v in values)), 4)
