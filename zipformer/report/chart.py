"""What a chart shows, and how it is drawn as SVG: in a page, or in a file of its own.

A chart is axes and lines of points; what they mean is the concern of ``wer_chart``, ``curves`` and
``load_chart``. The drawing itself is the template ``chart.svg``, which asks a ``Frame`` for pixels.
Its colours come by class from ``chart.css``, light or dark as the reader's system is; attributes
hold the light ones for programs that read no style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zipformer.report.axis import Axis
from zipformer.report.rendering import render

# Can be told apart by people who are blind to some colours; chart.css has them too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#c0569a", "#8a6d00", "#3c9cd6", "#333333")
# Paths around the point that they mark.
SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "square": "M-4.5 -4.5h9v9h-9z",
    "triangle": "M0 -6l6 10.5h-12z",
    "diamond": "M0 -6.5l6.5 6.5l-6.5 6.5l-6.5 -6.5z",
    "wedge": "M0 6l6 -10.5h-12z",
}
DASHES = {"solid": None, "dashed": "7 4", "dotted": "2 4"}
LINE_HEIGHT = 21  # of a legend in a file of its own
HEADLINE = 30  # room above a chart there

LineStyle = Literal["solid", "dashed", "dotted"]


def shape(number: int) -> str:
    """The shape of the marks of a line, or of a group of points, by its number."""
    return list(SHAPES)[number % len(SHAPES)]


@dataclass(frozen=True)
class Mark:
    """What stands at a point.

    Args:
        shape: One of ``SHAPES``.
        title: Shown to who points at it.
        hollow: Whether only its border is drawn.
    """

    shape: str
    title: str
    hollow: bool = False

    @property
    def path(self) -> str:
        """The border as SVG writes it, around zero."""
        return SHAPES[self.shape]


@dataclass(frozen=True)
class Point:
    """A point of a line.

    Args:
        x: Value on the horizontal axis.
        y: Value on the vertical axis.
        mark: What stands there, if anything does.
        high: Where a stroke from the point ends, as at a percentile.
    """

    x: float
    y: float
    mark: Mark | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Points that are joined.

    Args:
        label: What the legend calls it; a line without one is not in the legend.
        color: Number of its colour.
        points: From left to right; None leaves a gap.
        style: How the points are joined.
        note: Stands after the label, as its last value.
    """

    label: str
    color: int
    points: list[Point | None]
    style: LineStyle = "solid"
    note: str = ""

    @property
    def hue(self) -> int:
        """Its colour, as an index of ``COLORS`` and in the classes of ``chart.css``."""
        return self.color % len(COLORS)

    @property
    def rgb(self) -> str:
        """Its colour on white."""
        return COLORS[self.hue]

    @property
    def dashes(self) -> str | None:
        """Its style as SVG writes it."""
        return DASHES[self.style]

    @property
    def mark(self) -> Mark | None:
        """A mark like all of its own, for the legend; None if these differ or there is none."""
        marks = [point.mark for point in self.points if point and point.mark]
        looks = {(mark.shape, mark.hollow) for mark in marks}
        return marks[0] if len(looks) == 1 else None


@dataclass(frozen=True)
class Chart:
    """A chart; what the vertical axis shows stands above it.

    Args:
        x: Horizontal axis.
        y: Vertical axis.
        lines: The first one is drawn first.
        shapes: Marks whose titles say what their shapes mean, where these mean something.
        title: For who cannot see it; what the vertical axis shows by default.
    """

    x: Axis
    y: Axis
    lines: list[Line]
    shapes: list[Mark]
    title: str = ""

    @property
    def legend(self) -> list[Line]:
        """The lines that a legend has."""
        return [line for line in self.lines if line.label]


@dataclass(frozen=True)
class Frame:
    """A chart in its place on a drawing.

    Args:
        chart: What is drawn.
        width: Of the drawing, in pixels.
        height: Of the chart, in pixels.
        mark_scale: Size of its marks.
        top: Where it begins.
    """

    chart: Chart
    width: int
    height: int
    mark_scale: float = 1.0
    top: int = 0

    @property
    def left(self) -> int:
        """Where the vertical axis stands."""
        return 56

    @property
    def right(self) -> int:
        """Where the horizontal axis ends."""
        return self.width - 20

    @property
    def ceiling(self) -> int:
        """Where the vertical axis ends."""
        return self.top + 10

    @property
    def floor(self) -> int:
        """Where the horizontal axis stands."""
        return self.top + self.height - (42 if self.chart.x.label else 26)

    def x(self, value: float) -> str:
        """The pixel of a value on the horizontal axis."""
        return f"{self.left + self.chart.x.share(value) * (self.right - self.left):.1f}"

    def y(self, value: float) -> str:
        """The pixel of a value on the vertical axis."""
        return f"{self.floor - self.chart.y.share(value) * (self.floor - self.ceiling):.1f}"

    def path(self, line: Line) -> str:
        """The way of a line through its points, interrupted where there is none."""
        steps = []
        joined = False
        for point in line.points:
            if point:
                steps.append(f"{'L' if joined else 'M'}{self.x(point.x)} {self.y(point.y)}")
            joined = point is not None
        return "".join(steps)


def small(chart: Chart) -> Frame:
    """One of many beside each other; its letters stay readable where it is as wide as a phone."""
    return Frame(chart, width=400, height=230, mark_scale=0.55)


def large(chart: Chart) -> Frame:
    """One that fills the width of a page."""
    return Frame(chart, width=880, height=450)


def to_svg_file(title: str, charts: Sequence[Chart]) -> str:
    """The text of an SVG file with charts one above the other.

    Args:
        title: Of all.
        charts: With the same lines; the legend of the first one stands below them.
    """
    frames = []
    bottom = 0
    for chart in charts:
        frames.append(Frame(chart, width=760, height=290, top=bottom + HEADLINE))
        bottom += HEADLINE + 290
    lines = charts[0].legend
    height = bottom + LINE_HEIGHT * (len(lines) + 1)
    return render(
        "chart_file.svg",
        title=title,
        frames=frames,
        lines=lines,
        bottom=bottom,
        line_height=LINE_HEIGHT,
        height=height,
    )
