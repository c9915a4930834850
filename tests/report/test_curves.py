"""Every number of a run is drawn, in a chart with its like."""

from __future__ import annotations

import pytest
from report.drawn import drawing, marks
from report.example_run import train_record, valid_record

from zipformer.report.chart import Chart, Line
from zipformer.report.curves import (
    MOST_MARKS,
    MOST_POINTS,
    POSITION,
    TRAINING,
    VALIDATION,
    Values,
    curve_chart,
    is_number,
    thinned,
    training_charts,
    validation_charts,
)

RECORDS = [*(train_record(step) for step in (50, 400, 800)), valid_record(400), valid_record(800)]


def labels(charts: dict[str, Chart]) -> dict[str, list[str]]:
    """Names of curves by the group they are in."""
    return {group: [line.label for line in chart.lines] for group, chart in charts.items()}


def curve(values: Values, last_step: int = 100, may_log: bool = False) -> Chart:
    return curve_chart("loss", {"a": values}, last_step, may_log)


def test_every_number_of_a_record_is_in_one_chart_but_where_the_run_stands() -> None:
    drawn = [name for names in labels(training_charts(RECORDS)).values() for name in names]
    numbers = {name for name, value in train_record(50).items() if is_number(value)}
    assert sorted(drawn) == sorted(numbers - POSITION)
    drawn = [name for names in labels(validation_charts(RECORDS)).values() for name in names]
    assert sorted(drawn) == sorted(set(valid_record(1)) - POSITION - {"kind"})


def test_what_belongs_together_shares_a_chart() -> None:
    found = labels(training_charts(RECORDS))
    assert found["parts"] == ["loss", "simple", "pruned"]
    assert found["chunk"] == ["loss/full", "loss/chunk 32", "loss/chunk 64"]
    assert found["right"] == ["loss/right 0", "loss/right 64"]
    assert found["grad_norm"] == ["grad_norm"] and found["lr"] == ["lr"]
    assert found["whiten"] == ["whiten"]
    assert labels(validation_charts(RECORDS))["wer"] == [
        "wer full",
        "wer 32/256/0",
        "wer 32/256/64",
    ]


def test_charts_have_titles_with_units() -> None:
    assert training_charts(RECORDS)["parts"].y.label == TRAINING["parts"]
    assert validation_charts(RECORDS)["wer"].y.label == VALIDATION["wer"]


def test_numbers_that_nobody_foresaw_get_charts_of_their_own() -> None:
    new = [{**r, "depth/a": 1.0, "depth/b": 2.0, "loss/speaker 3": 0.5} for r in RECORDS[:3]]
    charts = training_charts(new)
    found = labels(charts)
    assert found["depth"] == ["depth/a", "depth/b"] and found["speaker"] == ["loss/speaker 3"]
    assert charts["depth"].y.label == "depth"
    assert labels(validation_charts([{**RECORDS[3], "cer full": 2.0}]))["cer"] == ["cer full"]


def test_truth_values_texts_and_what_is_not_finite_are_no_numbers() -> None:
    strange = {"flag": True, "name": "x", "wild": float("nan"), "none": None}
    found = labels(training_charts([{**RECORDS[0], **strange}]))
    assert not [name for names in found.values() for name in names if name in strange]


def test_a_run_that_skipped_no_step_has_no_chart_of_it() -> None:
    assert "skipped" in training_charts(RECORDS)
    assert "skipped" not in training_charts(RECORDS[:1])


def test_all_charts_of_a_run_have_the_same_steps() -> None:
    ends = {(chart.x.low, chart.x.high) for chart in training_charts(RECORDS).values()}
    assert ends == {(0, 800)}


def test_a_mark_says_its_curve_its_step_and_its_value() -> None:
    titles = list(marks(drawing(curve([(0, 1.0), (50, 3.0), (100, 2.0)]))))
    assert titles == ["a at step 0: 1", "a at step 50: 3", "a at step 100: 2"]


def test_where_there_is_no_value_there_is_a_gap() -> None:
    line = curve([(0, 1.0), (10, None), (20, 1.0)]).lines[0]
    assert [point is None for point in line.points] == [False, True, False]


def test_the_legend_has_every_curve_with_its_last_value() -> None:
    curves: dict[str, Values] = {
        "a": [(0, 1.0), (9, 0.25)],
        "none": [(0, None)],
        "c": [(0, 7.0), (9, None)],
    }
    legend = curve_chart("loss", curves, 9, may_log=False).legend
    assert [(line.label, line.note) for line in legend] == [("a", "0.25"), ("c", "7")]


@pytest.mark.parametrize(
    "values",
    [[(0, 0.0)], [(5, 3.0)], [(0, -1.0), (9, -1.0)], [(0, 1e-9), (9, 1e9)], [(0, 0.0), (9, 1e6)]],
    ids=str,
)
def test_few_or_strange_values_can_be_drawn(values: Values) -> None:
    for may_log in (False, True):
        found = marks(drawing(curve(values, 9, may_log)))
        assert len(found) == len(values)


def test_a_wide_range_is_logarithmic_only_where_ratios_matter() -> None:
    values: Values = [(0, 0.1), (50, 1.0), (100, 10.0)]
    low, middle, high = marks(drawing(curve(values, may_log=True))).values()
    assert low[1] - middle[1] == pytest.approx(middle[1] - high[1], abs=0.2)
    assert curve(values, may_log=True).y.log and not curve(values).y.log


def test_curves_of_one_chart_are_told_apart_by_colour_and_style() -> None:
    curves: dict[str, Values] = {f"c{i}": [(0, i + 1.0), (9, 1.0)] for i in range(20)}
    lines = curve_chart("loss", curves, 9, may_log=False).lines

    def look(line: Line) -> tuple[int, str]:
        return line.hue, line.style

    assert len({look(line) for line in lines}) == 20
    assert [line.style for line in lines[:7]] == ["solid"] * 7


def test_long_curves_become_means_that_end_where_they_end() -> None:
    values: Values = [(i, float(i % 2)) for i in range(10 * MOST_POINTS)]
    thin = thinned(values)
    assert len(thin) == MOST_POINTS and thin[-1][0] == values[-1][0]
    assert {value for _, value in thin} == {0.5}
    assert thinned(values[:MOST_POINTS]) == values[:MOST_POINTS]
    gaps: Values = [(i, None if i < 20 else 4.0) for i in range(10 * MOST_POINTS)]
    assert [v for _, v in thinned(gaps)][:3] == [None, None, 4.0]


def test_long_curves_have_marks_at_some_of_their_points() -> None:
    line = curve([(i, float(i)) for i in range(1000)], 1000).lines[0]
    points = [point for point in line.points if point]
    marked = [point.x for point in points if point.mark]
    assert len(points) > MOST_MARKS >= len(marked) > MOST_MARKS / 2
    assert len({b - a for a, b in zip(marked, marked[1:], strict=False)}) == 1
