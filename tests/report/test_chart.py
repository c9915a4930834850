"""Lines and marks are drawn where their values are, and look as they were asked to."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report.drawn import drawing, marks, parsed, texts

from zipformer.report.axis import Axis, value_axis
from zipformer.report.chart import COLORS, SHAPES, Chart, Line, LineStyle, Mark, Point, to_svg_file
from zipformer.report.rendering import TEMPLATES

STEPS = Axis("training step", 0, 100, [(0, "0"), (50, "50"), (100, "100")])


def marked(x: float, y: float, hollow: bool = False) -> Point:
    return Point(x, y, Mark("circle", f"{y:g} at {x:g}", hollow))


def chart(*lines: Line) -> Chart:
    heights = [point.y for line in lines for point in line.points if point]
    return Chart(STEPS, value_axis("loss", heights), list(lines), [])


def path_of(tree: ElementTree.Element, label: str) -> ElementTree.Element:
    return next(p for p in tree.iter("path") if p.findtext("title") == label)


def test_more_is_further_right_and_higher_up() -> None:
    line = Line("a", 0, [marked(0, 1), marked(50, 3), marked(100, 2)])
    left, middle, right = marks(drawing(chart(line))).values()
    assert left[0] < middle[0] < right[0]
    assert middle[0] - left[0] == pytest.approx(right[0] - middle[0], abs=0.2)
    assert middle[1] < right[1] < left[1]
    assert list(marks(drawing(chart(line)))) == ["1 at 0", "3 at 50", "2 at 100"]


def test_marks_stand_on_their_line() -> None:
    tree = drawing(chart(Line("a", 0, [marked(0, 1), marked(50, 3)])))
    steps = re.findall(r"[ML](\S+?) ([\d.]+)", path_of(tree, "a").get("d", ""))
    assert [(float(x), float(y)) for x, y in steps] == list(marks(tree).values())


def test_where_there_is_no_point_there_is_a_gap() -> None:
    tree = drawing(chart(Line("a", 0, [Point(0, 1), Point(1, 2), None, Point(3, 1), Point(4, 2)])))
    assert re.sub(r"[^ML]", "", path_of(tree, "a").get("d", "")) == "MLML"


def test_a_stroke_reaches_to_its_value() -> None:
    line = Line("a", 0, [Point(0, 1, Mark("circle", "low"), high=3), marked(50, 3)])
    tree = drawing(chart(line))
    stroke = next(p for p in tree.iter("path") if p.get("class") == "high")
    match = re.match(r"M(\S+) (\S+)V([\d.]+)", stroke.get("d", ""))
    assert match is not None
    low, high = marks(tree).values()
    assert tuple(map(float, match.groups())) == (*low, high[1])


def test_hollow_marks_show_the_paper() -> None:
    tree = drawing(chart(Line("a", 0, [marked(0, 1), marked(50, 2, hollow=True)])))
    fills = [
        (m.get("fill"), "paper" in m.get("class", "").split())
        for m in tree.iter("path")
        if "scale" in m.get("transform", "")
    ]
    assert fills == [("currentColor", False), ("#ffffff", True)]


@pytest.mark.parametrize("style", ["solid", "dashed", "dotted"])
def test_lines_and_their_signs_look_alike(style: LineStyle) -> None:
    tree = drawing(chart(Line("a", 3, [marked(0, 1), marked(1, 2)], style)))
    groups = [g for g in tree.iter("g") if g.get("color") == COLORS[3]]
    assert len(groups) == 2  # in the drawing and in the legend
    dashes = {next(g.iter("path")).get("stroke-dasharray") for g in groups}
    assert len(dashes) == 1 and (None in dashes) is (style == "solid")
    assert all(SHAPES["circle"] in {p.get("d") for p in g.iter("path")} for g in groups)


def test_a_line_without_a_label_is_drawn_but_not_in_the_legend() -> None:
    tree = drawing(chart(Line("a", 0, [marked(0, 1)]), Line("", 0, [marked(50, 2)], "dotted")))
    assert len(marks(tree)) == 2
    assert texts(tree).count("a") == 1 and "" not in texts(tree)


def test_the_sign_of_a_line_has_the_mark_that_all_its_points_have() -> None:
    other = Point(50, 2, Mark("square", "other"))
    assert Line("a", 0, [None, marked(0, 1), marked(9, 2)]).mark == Mark("circle", "1 at 0")
    assert Line("a", 0, [marked(0, 1), other]).mark is None
    assert Line("a", 0, [marked(0, 1), marked(9, 2, hollow=True)]).mark is None
    assert Line("a", 0, [Point(0, 1)]).mark is None


def test_axes_have_their_ticks_and_labels() -> None:
    written = texts(drawing(chart(Line("a", 0, [marked(0, 1), marked(50, 3)]))))
    assert {"0", "50", "100", "training step", "loss", "1", "2", "3"} <= set(written)


def test_charts_of_one_file_stand_one_above_the_other_with_one_legend() -> None:
    upper, lower = chart(Line("a", 0, [marked(0, 1)])), chart(Line("a", 0, [marked(50, 7)]))
    tree = parsed(to_svg_file("two", [upper, lower]))
    height = float(tree.get("viewBox", "").split()[3])
    (_, first), (_, second) = marks(tree).values()
    assert 0 < first < height / 2 < second < height
    assert texts(tree).count("a") == 1 and tree.findtext("title") == "two"


def test_texts_of_others_cannot_break_a_file() -> None:
    attack = '</title><script>"&amp;'
    tree = drawing(chart(Line(attack, 0, [Point(0, 1, Mark("circle", attack))])))
    assert attack in texts(tree) and attack in marks(tree)
    assert not list(tree.iter("script"))


def test_a_file_of_its_own_brings_its_colours_light_and_dark() -> None:
    text = to_svg_file("charts", [chart(Line("a", 0, [marked(0, 1)]))])
    assert "prefers-color-scheme: dark" in text and 'class="s0"' in text and COLORS[0] in text
    assert not re.search(r"url\(|@import|href|(?<!xmlns=.)https?:", text)


def test_the_style_sheet_has_the_colours_of_the_attributes() -> None:
    style = (Path(TEMPLATES) / "chart.css").read_text()
    light, dark = (re.findall(r"--s\d: (#\w+)", part) for part in style.split("@media"))
    assert tuple(light) == COLORS and len(dark) == len(COLORS)
    assert re.findall(r"\.s(\d) ", style) == [str(i) for i in range(len(COLORS))]
