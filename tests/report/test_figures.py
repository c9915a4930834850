"""Figures show what the charts show, in files that papers can use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="needs the extra 'figures'")

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from report.test_load_test import CROSSED
from report.test_wer_chart import ENTRIES, entry

from zipformer.report import write_report
from zipformer.report.axis import Axis, value_axis
from zipformer.report.chart import COLORS, SHAPES, Chart, Line, Mark, Point
from zipformer.report.figures import MARKERS, MOST_MARKS, to_figure, write_figures
from zipformer.report.load_chart import load_charts
from zipformer.report.wer_chart import wer_chart

ROOT = Path(__file__).parents[2]


def panels(*charts: Chart) -> list[Axes]:
    return to_figure(charts).axes


def lines_with_marks(panel: Axes) -> list[Line2D]:
    return [line for line in panel.lines if line.get_marker() in MARKERS.values()]


def test_each_figure_is_a_pdf_and_a_png(tmp_path: Path) -> None:
    paths = write_figures({"wer": [wer_chart(ENTRIES)], "a/../b c": load_charts(CROSSED)}, tmp_path)
    assert [path.name for path in paths] == ["wer.pdf", "wer.png", "a-b-c.pdf", "a-b-c.png"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        begin = b"%PDF" if path.suffix == ".pdf" else b"\x89PNG"
        assert path.read_bytes().startswith(begin)


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_figures({"wer": [wer_chart(ENTRIES[:2])]}, tmp_path / folder)
    for name in ("wer.pdf", "wer.png"):
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes() and b"CreationDate" not in content


def test_a_figure_has_the_axes_of_the_chart_with_labels_and_units() -> None:
    chart = wer_chart(ENTRIES)
    (panel,) = panels(chart)
    assert panel.get_xlabel() == chart.x.title and panel.get_ylabel() == "word error rate in %"
    assert panel.get_xlim() == pytest.approx((chart.x.low, chart.x.high))
    assert panel.get_xscale() == "log" and panel.get_yscale() == "linear"
    assert [text.get_text() for text in panel.get_xticklabels()] == [t for _, t in chart.x.ticks]
    assert [text.get_text() for text in panel.get_xticklabels()][-1] == "full"


def test_every_result_is_one_mark_in_the_colour_and_shape_of_the_page() -> None:
    chart = wer_chart(ENTRIES)
    (panel,) = panels(chart)
    wanted = {
        (p.x, p.y, line.rgb, MARKERS[p.mark.shape], "white" if p.mark.hollow else line.rgb)
        for line in chart.lines
        for p in line.points
        if p and p.mark
    }
    found = {
        (*line.get_xydata()[0], line.get_color(), line.get_marker(), line.get_markerfacecolor())
        for line in lines_with_marks(panel)
    }
    assert found == wanted and len(found) == len(ENTRIES)


def test_what_no_stream_gives_is_dashed_and_full_context_dotted() -> None:
    (panel,) = panels(wer_chart([*ENTRIES, entry("32/256/128", 6.5, "masked")]))
    styles = [line.get_linestyle() for line in panel.lines if len(line.get_xydata()) > 1]
    assert styles.count("--") == 1 and ":" in styles


def test_every_shape_has_a_marker_of_its_own() -> None:
    assert set(MARKERS) == set(SHAPES) and len(set(MARKERS.values())) == len(SHAPES)


def test_the_legend_names_lines_and_shapes() -> None:
    figure = to_figure([wer_chart(ENTRIES, short_labels=True)])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "set clean, windowed",
        "set babble, windowed",
        "set clean, masked (hollow: not streamable)",
        "chunk 32 (320 ms)",
        "chunk 64 (640 ms)",
        "full",
    ]


def test_charts_of_one_figure_stand_one_above_the_other_with_one_legend() -> None:
    figure = to_figure(load_charts(CROSSED))
    upper, lower = figure.axes
    assert upper.get_position().y0 > lower.get_position().y0 and len(figure.legends) == 1
    assert "p50" in upper.get_ylabel() and "real-time factor" in lower.get_ylabel()


def test_strokes_reach_to_their_values() -> None:
    panel, _ = panels(*load_charts(CROSSED))
    strokes = [path.vertices[:, 1] for c in panel.collections for path in c.get_paths()]
    assert sorted((low, high) for low, high in strokes) == sorted(
        (level.latency_p50, level.latency_p90) for level in CROSSED
    )


def test_long_curves_have_few_marks_and_gaps_stay_gaps() -> None:
    points: list[Point | None] = [Point(i, 1.0 + i, Mark("circle", "")) for i in range(100)]
    points[50] = None
    x = Axis("training step", 0, 100, [(0, "0")])
    (panel,) = panels(Chart(x, value_axis("loss", [1.0, 100.0]), [Line("a", 0, points)], []))
    assert 1 < len(lines_with_marks(panel)) <= MOST_MARKS
    heights = panel.lines[0].get_ydata()
    assert len(heights) == 100 and [i for i, y in enumerate(heights) if y != y] == [50]


def test_names_that_mean_something_to_matplotlib_are_only_text(tmp_path: Path) -> None:
    names = ["_hidden", r"$\frac$", "a_b^c", "100 % <b>"]
    entries = [entry("32/256/0", 5.0 + i, name=name) for i, name in enumerate(names)]
    write_figures({"wer": [wer_chart(entries)]}, tmp_path)
    legend = to_figure([wer_chart(entries, short_labels=True)]).legends[0]
    assert [text.get_text() for text in legend.get_texts()[:4]] == [f"set {n}" for n in names]


def test_a_report_writes_its_charts(example_run: Path, tmp_path: Path) -> None:
    shutil.copytree(example_run / "decode", tmp_path / "decode")
    records = [
        {"kind": "train", "step": 5, "loss": 1.0},
        {"kind": "valid", "step": 5, "wer full": 9.0},
    ]
    lines = [json.dumps(record) for record in records]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    write_report(tmp_path, figures_dir=tmp_path / "figures")
    names = [path.name for path in (tmp_path / "figures").glob("*.pdf")]
    assert sorted(names) == ["training-parts.pdf", "validation-wer.pdf", "wer-over-latency.pdf"]


def test_only_figures_need_matplotlib(example_run: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["matplotlib"] = None  # as if it were not there
from pathlib import Path
from zipformer.report import write_report
folder = Path({str(tmp_path)!r})
run = Path({str(example_run)!r})
write_report(run, folder / "plain.html", 1)
write_report(run, folder / "report.html", 1, folder / "figures")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: figures need the package matplotlib")
    assert last.endswith("pip install -e '.[figures]'")
    assert [path.name for path in tmp_path.iterdir()] == ["plain.html"]


def test_colours_and_marks_of_a_chart_are_those_of_its_page() -> None:
    line = Line("a", 8, [Point(0, 1, Mark("wedge", ""))])
    (panel,) = panels(Chart(Axis("", 0, 1, []), value_axis("", [1.0]), [line], []))
    assert {drawn.get_color() for drawn in panel.lines} == {COLORS[1]}
