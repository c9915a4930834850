"""The page holds everything it shows, and the plot puts points where they belong."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from decoding.example_results import example

from zipformer.decoding.compare import Entry
from zipformer.decoding.page import to_html
from zipformer.decoding.plot import Axis, linear_ticks, wer_plot
from zipformer.decoding.results import Mode


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


class Outline(HTMLParser):
    """Tags and attributes, and whether tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing() -> None:
    page = to_html(ENTRIES)
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in outline.tags}
    attributes = {name for _, found in outline.tags for name in found}
    assert not attributes & {"src", "href", "srcset", "xlink:href"}
    assert not re.search(r"https?:|url\(|@import", page)


def test_names_cannot_break_the_page() -> None:
    page = to_html(ENTRIES)
    assert "run<1>" not in page and "run&lt;1&gt;" in page


def test_rows_that_no_stream_gives_are_marked_on_the_page() -> None:
    rows = re.findall(r"<tr>.*?</tr>", to_html(ENTRIES), re.DOTALL)
    marked = [row for row in rows if "barred" in row]
    assert len(marked) == 1 and "masked (not streamable)" in marked[0] and "7.00" in marked[0]


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
    early, late = (mark for mark in tree.findall("circle") if mark.find("title") is not None)
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
