"""Charts for papers: each as PDF and as PNG, drawn by matplotlib.

Whoever wants figures imports this module only then, as nothing else needs matplotlib. Lines differ
by colours that colour-blind people can tell apart, and by marks or dashes as well.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from zipformer.files import replacing
from zipformer.report.axis import Axis
from zipformer.report.chart import Chart, Line, LineStyle, Mark

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError as error:
    raise ImportError(
        f"figures need the package matplotlib ({error}): pip install -e '.[figures]'"
    ) from error

MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "wedge": "v"}
LINE_WIDTH = 1.4  # points
MARK_SIZE = 5.0
MOST_MARKS = 12  # of a line; one with more points has marks at only so many
WIDTH = 5.2  # inches; the columns of text of most papers
PANEL_HEIGHT = 2.7
LEGEND_ROW = 0.19
LEGEND_LETTERS = 56  # beside each other
LABEL_LETTERS = 32  # of a vertical axis in one line
DOTS_PER_INCH = 300


def write_figures(figures: Mapping[str, Sequence[Chart]], folder: Path) -> list[Path]:
    """Writes each figure as PDF and PNG.

    Args:
        figures: Charts by the name of the figure; several stand one above the other, have the same
            lines and share a legend.
        folder: Where to; made if need be.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, charts in figures.items():
        stem = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
        with _paper_style():
            figure = to_figure(charts)
            for kind in ("pdf", "png"):
                paths.append(folder / f"{stem}.{kind}")
                # Without a date, equal results give equal files.
                metadata = {"CreationDate": None} if kind == "pdf" else None
                with replacing(paths[-1]) as temporary:
                    figure.savefig(temporary, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return paths


def to_figure(charts: Sequence[Chart]) -> Figure:
    """Charts one above the other, and below them the legend of the first one."""
    first = charts[0]
    signs = [_marked(line.mark, line.rgb, line.style) for line in first.legend]
    signs += [_marked(mark, "#666666", "none") for mark in first.shapes]
    names = [line.label for line in first.legend] + [mark.title for mark in first.shapes]
    columns = max(1, LEGEND_LETTERS // max(len(name) for name in names))
    height = PANEL_HEIGHT * len(charts) + LEGEND_ROW * math.ceil(len(names) / columns)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(charts), squeeze=False)[:, 0]
    for panel, chart in zip(panels, charts, strict=True):
        _draw(panel, chart)
    figure.legend(
        signs, names, loc="outside lower left", ncols=columns, frameon=False, handlelength=3
    )
    return figure


def _paper_style() -> AbstractContextManager[None]:
    """Settings of matplotlib, for as long as a figure is made and written."""
    return rc_context(
        {
            "font.size": 9,
            "legend.fontsize": 8,
            "axes.labelsize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "pdf.fonttype": 42,  # letters stay letters, as publishers want it
            "text.parse_math": False,  # a name may hold a $
        }
    )


def _draw(panel: Axes, chart: Chart) -> None:
    """Axes as the chart says, then its lines."""
    panel.set_xscale("log" if chart.x.log else "linear")
    panel.set_yscale("log" if chart.y.log else "linear")
    panel.set_xlim(chart.x.low, chart.x.high)
    panel.set_ylim(chart.y.low, chart.y.high)
    panel.minorticks_off()
    panel.set_xticks(*_ticks(chart.x))
    panel.set_yticks(*_ticks(chart.y))
    panel.set_xlabel(chart.x.title)
    panel.set_ylabel(textwrap.fill(chart.y.title, LABEL_LETTERS))
    panel.grid(color="#e3e3e3")
    if chart.x.break_at is not None:
        panel.axvline(chart.x.break_at, color="#666666", linewidth=0.8, linestyle="dotted")
    for line in chart.lines:
        _draw_line(panel, line)


def _draw_line(panel: Axes, line: Line) -> None:
    """A line, interrupted where it has gaps; its strokes and its marks."""
    nowhere = float("nan")
    x = [nowhere if point is None else point.x for point in line.points]
    y = [nowhere if point is None else point.y for point in line.points]
    panel.plot(x, y, color=line.rgb, linestyle=line.style, linewidth=LINE_WIDTH)
    marked = [(point, point.mark) for point in line.points if point and point.mark]
    for point, mark in marked[:: -(-len(marked) // MOST_MARKS) or 1]:
        if point.high is not None:
            panel.vlines(point.x, point.y, point.high, color=line.rgb, linewidth=0.9)
            panel.plot(point.x, point.high, color=line.rgb, marker="_", markersize=MARK_SIZE)
        panel.add_line(_marked(mark, line.rgb, "none", [point.x], [point.y]))


def _marked(
    mark: Mark | None,
    color: str,
    style: LineStyle | Literal["none"],
    x: Sequence[float] = (),
    y: Sequence[float] = (),
) -> Line2D:
    """A line with such marks; a legend needs it without points."""
    line = Line2D(x, y, color=color, linestyle=style, linewidth=LINE_WIDTH)
    line.set(clip_on=False, zorder=3)  # whole also at the ends of the axes
    if mark:
        line.set_marker(MARKERS[mark.shape])
        line.set_markersize(MARK_SIZE)
        line.set_markerfacecolor("white" if mark.hollow else color)
    return line


def _ticks(axis: Axis) -> tuple[list[float], list[str]]:
    """Where ticks stand, and what is written there."""
    return [value for value, _ in axis.ticks], [text for _, text in axis.ticks]
