"""Every number of a run is drawn, in a chart with its like."""

from __future__ import annotations

import re

from report.example_run import train_record, valid_record

from zipformer.report.curves import POSITION, is_number, training_charts, validation_charts
from zipformer.report.markup import Markup

RECORDS = [*(train_record(step) for step in (50, 400, 800)), valid_record(400), valid_record(800)]


def charts(found: list[Markup]) -> dict[str, list[str]]:
    """Labels by title."""
    titles = [re.search(r"<svg[^>]*><title>(.*?)</title>", c) for c in found]
    labels = [re.findall(r"</span>([^<]+) <span", c) for c in found]
    return {t[1]: names for t, names in zip(titles, labels, strict=True) if t}


def test_every_number_of_a_record_is_in_one_chart_but_where_the_run_stands() -> None:
    drawn = [name for names in charts(training_charts(RECORDS)).values() for name in names]
    numbers = {name for name, value in train_record(50).items() if is_number(value)}
    assert sorted(drawn) == sorted(numbers - POSITION)
    drawn = [name for names in charts(validation_charts(RECORDS)).values() for name in names]
    assert sorted(drawn) == sorted(set(valid_record(1)) - POSITION - {"kind"})


def test_what_belongs_together_shares_a_chart() -> None:
    found = list(charts(training_charts(RECORDS)).values())
    assert ["loss", "simple", "pruned"] in found
    assert ["loss/full", "loss/chunk 32", "loss/chunk 64"] in found
    assert ["loss/right 0", "loss/right 64"] in found
    assert ["grad_norm"] in found and ["lr"] in found and ["whiten"] in found
    valid = charts(validation_charts(RECORDS))
    assert valid["Validation: word error rate in %"] == [
        "wer full",
        "wer 32/256/0",
        "wer 32/256/64",
    ]


def test_numbers_that_nobody_foresaw_get_charts_of_their_own() -> None:
    new = [{**r, "depth/a": 1.0, "depth/b": 2.0, "loss/speaker 3": 0.5} for r in RECORDS[:3]]
    found = charts(training_charts(new))
    assert found["depth"] == ["depth/a", "depth/b"] and found["speaker"] == ["loss/speaker 3"]
    assert charts(validation_charts([{**RECORDS[3], "cer full": 2.0}]))["cer"] == ["cer full"]


def test_truth_values_texts_and_what_is_not_finite_are_no_numbers() -> None:
    strange = {"flag": True, "name": "x", "wild": float("nan"), "none": None}
    found = charts(training_charts([{**RECORDS[0], **strange}]))
    assert not [name for names in found.values() for name in names if name in strange]


def test_a_run_that_skipped_no_step_has_no_chart_of_it() -> None:
    assert "Steps skipped so far" in charts(training_charts(RECORDS))
    assert "Steps skipped so far" not in charts(training_charts(RECORDS[:1]))
