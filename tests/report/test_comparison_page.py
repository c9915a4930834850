"""The page holds everything it shows, and the plot puts points where they belong."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from evaluation.example_results import example
from report.outline import assert_self_contained

from zipformer.evaluation.results import Mode
from zipformer.report.compare import Entry
from zipformer.report.comparison_page import to_html
from zipformer.report.wer_plot import Axis, linear_ticks, wer_plot


def entry(context: str, wer: float, mode: Mode = "windowed", name: str = "clean") -> Entry:
    return Entry("run<1>", example(context, mode, name, wer), Path("wer.json"))


ENTRIES = [
    entry("full", 5.0),
    entry("32/256/0", 12.0),
    entry("32/256/64", 9.0),
    entry("32/256/256", 8.0),
    entry("64/256/0", 10.0),
    entry("32/256/0", 22.0, name="babble"),
    entry("32/256/64", 7.0, "masked"),
]


def test_the_page_is_whole_and_loads_nothing() -> None:
    assert_self_contained(to_html(ENTRIES))


def test_names_cannot_break_the_page() -> None:
    page = to_html(ENTRIES)
    assert "run<1>" not in page and "run&lt;1&gt;" in page


def test_rows_that_no_stream_gives_are_marked_on_the_page() -> None:
    rows = re.findall(r"<tr>.*?</tr>", to_html(ENTRIES), re.DOTALL)
    marked = [row for row in rows if "barred" in row]
    assert len(marked) == 1 and "masked (not streamable)" in marked[0] and "7.00" in marked[0]


def test_error_rates_come_early_and_what_all_rows_share_stands_above() -> None:
    heads = re.findall(r"<th[^>]*>(.*?)</th>", to_html(ENTRIES))
    assert heads[:5] == ["chunk/left/right", "clean WER %", "babble WER %", "latency", "mode"]
    assert "The same in all rows: run run&lt;1&gt;; model epoch30-avg9; search greedy." in to_html(
        ENTRIES
    )
    assert "same in all rows" not in to_html(ENTRIES[:1])


def points(svg: str) -> dict[str, tuple[str, str]]:
    """Tooltip -> (tag, fill) of every mark."""
    tree = ElementTree.fromstring(svg)
    return {
        title.text or "": (mark.tag, mark.attrib["fill"])
        for mark in tree.iter()
        if mark.tag != "svg" and (title := mark.find("title")) is not None
    }


def test_every_result_is_one_mark_hollow_if_no_stream_gives_it() -> None:
    marks = points(wer_plot(ENTRIES))
    assert len(marks) == len(ENTRIES)
    hollow = [text for text, (_, fill) in marks.items() if fill == "#ffffff"]
    assert len(hollow) == 1 and "not streamable" in hollow[0]


def test_the_shape_of_a_mark_tells_its_chunk() -> None:
    marks = points(wer_plot(ENTRIES))
    shapes = {text.split(" at ")[1].split("/")[0].split(" ")[0]: m[0] for text, m in marks.items()}
    assert shapes == {"32": "circle", "64": "rect", "full": "path"}


def test_the_legend_has_a_line_for_each_set_and_mode() -> None:
    texts = [t.text or "" for t in ElementTree.fromstring(wer_plot(ENTRIES)).iter("text")]
    legend = [t for t in texts if t.startswith("run<1>")]
    assert len(legend) == 3
    assert any("set babble, windowed" in t for t in legend)
    assert any("masked (hollow: not streamable)" in t for t in legend)
    assert any("latency in ms" in t for t in texts) and "word error rate in %" in texts


def test_more_latency_is_further_right_and_more_errors_higher_up() -> None:
    tree = ElementTree.fromstring(wer_plot([entry("32/256/0", 12.0), entry("32/256/256", 8.0)]))
    early, late = (mark for mark in tree.iter("circle") if mark.find("title") is not None)
    assert float(early.attrib["cx"]) < float(late.attrib["cx"])
    assert float(early.attrib["cy"]) < float(late.attrib["cy"])


@pytest.mark.parametrize(
    "entries",
    [[entry("full", 5.0)], [entry("32/256/0", 0.0)], [entry("full", 0.0), entry("64/256/0", 0.0)]],
    ids=["full only", "one without errors", "no errors"],
)
def test_few_results_can_be_drawn(entries: list[Entry]) -> None:
    assert len(points(wer_plot(entries))) == len(entries)


def test_a_wide_range_of_latencies_is_drawn_on_a_logarithmic_axis() -> None:
    narrow = wer_plot([entry("32/256/0", 3.0), entry("64/256/0", 2.0)])
    wide = wer_plot([entry("32/256/0", 3.0), entry("32/256/256", 2.0)])
    assert "logarithmic" not in narrow and "logarithmic" in wide
    axis = Axis(100.0, 10000.0, 0.0, 2.0, log=True)
    assert axis(1000.0) == pytest.approx(1.0)
    assert {1000.0, 2000.0, 5000.0} <= set(axis.ticks())


def test_ticks_are_round_and_inside() -> None:
    assert linear_ticks(0, 23.1) == [0, 5, 10, 15, 20]
    assert linear_ticks(2.1, 2.6) == pytest.approx([2.1, 2.2, 2.3, 2.4, 2.5, 2.6])
