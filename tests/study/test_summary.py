"""Rows are means over seeds; what differs from the baseline is told from what only seems to."""

from __future__ import annotations

import statistics

import pytest
from study.conftest import Writer, decode, finish

from zipformer.study.charts import rates_chart
from zipformer.study.description import Study
from zipformer.study.page import notes, rates_table, state_table, to_csv, to_html
from zipformer.study.reading import read_study
from zipformer.study.summary import summarize
from zipformer.study.training import FAILURE, Training, trainings_of


def test_a_row_is_the_mean_over_seeds_with_its_spread(
    study: Study, decoded: list[Training]
) -> None:
    rows = summarize(study, decoded)
    assert [(r.run.name, r.way.context) for r in rows] == [
        (run, context) for run in ("menu", "none") for context in ("full", "32/128/0", "32/128/64")
    ]
    row = rows[0]
    wers = [t.results()[0].wer for t in decoded if t.run.name == "menu"]
    assert wers[0] != wers[1]
    assert row.mean == statistics.fmean(wers) and row.spread == statistics.stdev(wers)
    assert row.seeds == (1, 2)


def test_a_large_difference_is_significant_and_relative_to_the_baseline(
    study: Study, decoded: list[Training]
) -> None:
    rows = summarize(study, decoded)
    assert all(row.relative is None and row.difference is None for row in rows[:3])
    for base, row in zip(rows[:3], rows[3:], strict=True):
        assert row.difference is not None and row.difference.is_significant
        assert row.difference.a == pytest.approx(row.mean)
        assert row.relative == pytest.approx(100 * (row.mean / base.mean - 1))
        assert row.difference.low > 10


def test_equal_results_differ_in_nothing(study: Study) -> None:
    trainings = trainings_of(study)
    for training in trainings:
        finish(training)
        decode(training, 20)
    last = summarize(study, trainings)[-1]
    assert last.difference is not None and not last.difference.is_significant
    assert (last.relative, last.difference.low, last.difference.high) == (0.0, 0.0, 0.0)


def test_results_of_other_data_code_or_settings_are_marked(
    study: Study, decoded: list[Training]
) -> None:
    assert all(row.marks == () for row in summarize(study, decoded))
    none = decoded[1]
    changes = {"train_data": "other", "git_commit": "fff", "train_settings": "other"}
    decode(none, 30, ("full",), **changes)
    marked = {row.way.context: row.marks for row in summarize(study, decoded)[3:]}
    assert marked == {
        "full": ("code", "data", "outdated"),
        "32/128/0": (),
        "32/128/64": (),
    }
    assert len(notes(summarize(study, decoded))) == 3


def test_results_on_another_test_set_are_compared_with_nothing(
    study: Study, decoded: list[Training]
) -> None:
    decode(decoded[1], 30, ("full",), utterances=39)
    row = next(r for r in summarize(study, decoded)[3:] if r.way.context == "full")
    assert row.marks == ("set",) and row.difference is None and row.relative is None


def test_a_point_is_a_mean_over_right_context_or_latency(
    study: Study, decoded: list[Training]
) -> None:
    rows = summarize(study, decoded)
    right = rates_chart(rows, study.published, "right")
    assert right is not None
    points = [[(p.x, p.y, p.high) for p in line.points if p] for line in right.lines]
    expected = [(r.context.right, r.mean, max(r.wers)) for r in rows if not r.context.is_full]
    assert points == [expected[:2], expected[2:]]
    assert [text for _, text in right.x.ticks] == ["0", "64"]
    latency = rates_chart(rows, study.published, "latency")
    assert latency is not None and len(latency.lines) == 3
    assert len({p.x for line in latency.lines for p in line.points if p}) == 3
    other = latency.lines[-1]
    assert other.label == "Others, published" and other.points[0] is not None
    assert other.points[0].y == 12.5 and other.points[0].mark and other.points[0].mark.hollow


def test_the_page_says_what_is_published_what_failed_and_what_is_missing(
    study: Study, decoded: list[Training]
) -> None:
    (decoded[1].folder / FAILURE).write_text("train: the loss is not finite <i>\n")
    (decoded[2].folder / "epoch-2.pt").unlink()
    rows = summarize(study, decoded)
    table = rates_table(study, rows)
    assert table.rows[-1][0] == "Others (published: arXiv 0000.00000)"
    assert table.rows[-1][table.head.index("WER %")] == "12.50"
    assert [row[-1] for row in state_table(decoded).rows] == [
        "done",
        "failed: train: the loss is not finite <i>",
        "open",
        "done",
    ]
    page = to_html(study, decoded, rows)
    assert "Menu &lt;b&gt; or none" in page and "not finite &lt;i&gt;" in page
    assert page.count("<figure") == 2


def test_the_csv_has_a_line_for_each_result(decoded: list[Training]) -> None:
    lines = to_csv(decoded).splitlines()
    assert len(lines) == 1 + 4 * 3
    assert lines[0].startswith("run,seed,set,method,context")
    assert lines[1].startswith("menu,1,clean,greedy,full")


def test_units_that_the_cuts_do_not_name_are_refused(
    write_study: Writer, decoded: list[Training], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tiny_run import write_cuts

    study = read_study(write_study(("draws = 300", 'units = "takes"')))
    write_cuts(study.runs[0].config.parent, "clean", ["one two"])
    with pytest.raises(ValueError, match="has no list 'takes' with a value for every word"):
        summarize(study, trainings_of(study))
