"""Curves over training steps as an SVG, drawn by hand; the legend is text beside it, which wraps.

The drawing is small, so that its letters stay readable where it fills the width of a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zipformer.report.markup import Markup, element, join
from zipformer.report.wer_plot import COLORS, Axis, linear_ticks

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 50, 18, 10, 40
LOG_RATIO = 8.0  # largest over smallest value from which an axis may be logarithmic
MOST_POINTS = 300  # of a curve; longer ones are drawn as means
MOST_MARKS = 40  # points with a mark to point at
DASHES = (None, "6 3", "2 3")  # where there are more curves than colours


@dataclass(frozen=True)
class Curve:
    """A figure over the steps.

    Args:
        label: Its name.
        points: (step, value) by rising steps; the value is None where there is none.
    """

    label: str
    points: list[tuple[int, float | None]]

    @property
    def values(self) -> list[float]:
        """Those that there are."""
        return [value for _, value in self.points if value is not None]


def chart(title: str, curves: Sequence[Curve], last_step: int, may_log: bool = False) -> Markup:
    """A figure with its title, its drawing and a legend that tells the last values.

    Args:
        title: What is drawn, with its unit.
        curves: Those without any value are left out; at least one has some.
        last_step: Where the axis ends, so that all charts of a run have the same.
        may_log: Whether the values are such that their ratios matter: a wide range is then drawn
            on a logarithmic axis.
    """
    drawn = [Curve(curve.label, thinned(curve.points)) for curve in curves if curve.values]
    last = [curve.values[-1] for curve in curves if curve.values]
    x = Axis(0, max(last_step, 1), LEFT, WIDTH - RIGHT)
    y = _value_axis([value for curve in drawn for value in curve.values], may_log)
    parts = [*_grid(x, y)]
    legend = []
    for i, curve in enumerate(drawn):
        look = {"class_": f"s{i % len(COLORS)}", "color": COLORS[i % len(COLORS)]}
        dashes = DASHES[i // len(COLORS) % len(DASHES)]
        parts.append(element("g", *_drawn(curve, x, y, dashes), **look))
        sign = element("path", d="M0 5H22", **_stroke(dashes))
        sign = element("svg", sign, class_="sign", viewBox="0 0 22 10", aria_hidden="true")
        value = element("span", short(last[i]), class_="dim")
        legend.append(element("li", element("span", sign, **look), curve.label, " ", value))
    svg = element(
        "svg", element("title", title), parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img"
    )
    note = element("span", ", logarithmic" if y.log else None, class_="dim")
    head = element("figcaption", title, note)
    return element("figure", head, svg, element("ul", legend, class_="legend"))


def short(value: float) -> str:
    """A number in few letters.

    Example:
        >>> short(0.045), short(12000), short(2500000), short(3.14159)
        ('0.045', '12k', '2.5M', '3.142')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:.4g}"


def thinned(points: Sequence[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
    """At most ``MOST_POINTS`` points: means of as many neighbours, at the step of the last."""
    size = -(-len(points) // MOST_POINTS)
    if size <= 1:
        return list(points)
    thin: list[tuple[int, float | None]] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        values = [value for _, value in part if value is not None]
        thin.append((part[-1][0], sum(values) / len(values) if values else None))
    return thin


def value_ticks(axis: Axis) -> list[float]:
    """Round values on an axis, few enough for a small drawing."""
    if not axis.log:
        return linear_ticks(axis.low, axis.high, about=5)
    first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        values = [m * 10.0**power for power in range(first, last + 1) for m in mantissas]
        inside = [value for value in values if axis.low <= value <= axis.high]
        if len(inside) <= 7:
            return inside
    return inside[:: -(-len(inside) // 7)]


def _value_axis(values: Sequence[float], may_log: bool) -> Axis:
    low, high = min(values), max(values)
    top, bottom = TOP, HEIGHT - BOTTOM
    if may_log and low > 0 and high / low >= LOG_RATIO:
        return Axis(low / 1.1, high * 1.1, bottom, top, log=True)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    # From zero where that costs no more than half of the height.
    floor = 0.0 if 0 <= low < 0.5 * high or low == high == 0 else low - margin
    return Axis(floor, high + margin, bottom, top)


def _grid(x: Axis, y: Axis) -> Iterator[Markup]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in value_ticks(y):
        yield _line("rule", f"M{LEFT} {y(value):.1f}H{right}")
        yield _text(LEFT - 6, y(value) + 4, short(value), "end")
    for value in linear_ticks(x.low, x.high, about=5):
        yield _text(x(value), bottom + 16, short(value), "middle")
    yield _line("axis", f"M{LEFT} {TOP}V{bottom}H{right}")
    yield _text((LEFT + right) / 2, bottom + 33, "training step", "middle")


def _drawn(curve: Curve, x: Axis, y: Axis, dashes: str | None) -> Iterator[Markup]:
    """The curve, with gaps where there is no value, and marks if there are few."""
    path, joined = [], False
    for step, value in curve.points:
        if value is not None:
            path.append(f"{'L' if joined else 'M'}{x(step):.1f} {y(value):.1f}")
        joined = value is not None
    yield element("path", element("title", curve.label), d="".join(path), **_stroke(dashes))
    if len(curve.points) <= MOST_MARKS:
        for step, value in curve.points:
            if value is not None:
                tip = element("title", f"{curve.label} at step {step}: {value:.5g}")
                place = {"cx": f"{x(step):.1f}", "cy": f"{y(value):.1f}"}
                yield element("circle", tip, **place, r=2.6, fill="currentColor")


def _stroke(dashes: str | None) -> dict[str, str | float | None]:
    return {
        "fill": "none",
        "stroke": "currentColor",
        "stroke_width": 1.8,
        "stroke_linejoin": "round",
        "stroke_dasharray": dashes,
    }


def _line(kind: str, path: str) -> Markup:
    return element("path", class_=kind, d=path, fill="none", stroke="#cccccc")


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text_anchor": anchor}
    return element("text", text, class_="ink", **place)


def gallery(charts: Sequence[Markup]) -> Markup:
    """Charts side by side as far as the page is wide."""
    return element("div", join(charts), class_="charts")
