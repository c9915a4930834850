"""Curves are drawn where their values are."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from zipformer.report.chart import MOST_POINTS, Curve, chart, short, thinned, value_ticks
from zipformer.report.wer_plot import Axis

Points = list[tuple[int, float | None]]


def drawn(points: Points, last_step: int = 100, may_log: bool = False) -> ElementTree.Element:
    svg = re.search(
        r"<svg .*?</svg>", chart("loss", [Curve("a", points)], last_step, may_log), re.S
    )
    assert svg is not None
    return ElementTree.fromstring(svg[0])


def path_of(tree: ElementTree.Element) -> str:
    return next(p.attrib["d"] for p in tree.iter("path") if p.find("title") is not None)


def test_later_is_further_right_and_more_is_higher_up() -> None:
    marks = list(drawn([(0, 1.0), (50, 3.0), (100, 2.0)]).iter("circle"))
    x, y = ([float(m.attrib[name]) for m in marks] for name in ("cx", "cy"))
    assert x[0] < x[1] < x[2] and x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert y[1] < y[2] < y[0]
    assert [m.findtext("title") for m in marks] == [
        "a at step 0: 1",
        "a at step 50: 3",
        "a at step 100: 2",
    ]


def test_all_charts_of_a_run_have_the_same_steps() -> None:
    alone = next(drawn([(50, 1.0)], 100).iter("circle"))
    among = list(drawn([(50, 1.0), (100, 2.0)], 100).iter("circle"))
    assert alone.attrib["cx"] == among[0].attrib["cx"]


def test_where_there_is_no_value_there_is_a_gap() -> None:
    points: Points = [(0, 1.0), (10, 2.0), (20, None), (30, 1.0), (40, 2.0)]
    tree = drawn(points)
    assert re.sub(r"[^ML]", "", path_of(tree)) == "MLML"
    assert len(list(tree.iter("circle"))) == 4


@pytest.mark.parametrize(
    "points",
    [[(0, 0.0)], [(5, 3.0)], [(0, -1.0), (9, -1.0)], [(0, 1e-9), (9, 1e9)], [(0, 0.0), (9, 1e6)]],
)
def test_few_or_strange_values_can_be_drawn(points: Points) -> None:
    for may_log in (False, True):
        tree = drawn(points, 9, may_log)
        marks = list(tree.iter("circle"))
        assert len(marks) == len(points)
        _, top, _, height = (0, 10, 0, 230)
        assert all(top <= float(m.attrib["cy"]) <= height for m in marks)


def test_a_wide_range_is_logarithmic_only_where_ratios_matter() -> None:
    points: Points = [(0, 0.1), (50, 1.0), (100, 10.0)]
    y = [float(m.attrib["cy"]) for m in drawn(points, may_log=True).iter("circle")]
    assert y[0] - y[1] == pytest.approx(y[1] - y[2], abs=0.2)
    assert "logarithmic" in chart("loss", [Curve("a", points)], 100, may_log=True)
    assert "logarithmic" not in chart("loss", [Curve("a", points)], 100)


def test_the_legend_has_every_curve_with_its_last_value() -> None:
    curves = [Curve("a<b", [(0, 1.0), (9, 0.25)]), Curve("none", [(0, None)])]
    page = chart("loss", [*curves, Curve("c", [(0, 7.0), (9, None)])], 9)
    items = re.findall(r"<li>.*?</li>", page)
    assert [re.sub(r"<[^>]*>", "", item) for item in items] == ["a&lt;b 0.25", "c 7"]


def test_more_curves_than_colours_are_told_apart_by_dashes() -> None:
    page = chart("loss", [Curve(f"c{i}", [(0, i + 1.0), (9, 1.0)]) for i in range(9)], 9)
    looks = re.findall(r'<g class="(s\d)".*?<path[^>]*?(stroke-dasharray="[^"]*")?>', page)
    assert len(looks) == 9 and len(set(looks)) == 9


def test_long_curves_become_means_that_end_where_they_end() -> None:
    points: Points = [(i, float(i % 2)) for i in range(10 * MOST_POINTS)]
    thin = thinned(points)
    assert len(thin) == MOST_POINTS and thin[-1][0] == points[-1][0]
    assert {value for _, value in thin} == {0.5}
    assert thinned(points[:MOST_POINTS]) == points[:MOST_POINTS]
    gaps: Points = [(i, None if i < 20 else 4.0) for i in range(10 * MOST_POINTS)]
    assert [v for _, v in thinned(gaps)][:3] == [None, None, 4.0]


@pytest.mark.parametrize("low,high", [(0.02, 0.9), (0.1, 20.0), (1e-6, 1e6), (0.011, 0.019)])
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(low: float, high: float) -> None:
    ticks = value_ticks(Axis(low, high, 200, 10, log=True))
    assert len(ticks) <= 7 and all(low <= t <= high for t in ticks)


@pytest.mark.parametrize(
    "value,text",
    [(0, "0"), (9999, "9999"), (12000, "12k"), (150000, "150k"), (2.5e6, "2.5M"), (3e9, "3G")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text
