"""Error rates stand where their latencies are; what no stream gives looks different."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation.example_results import example
from report.drawn import drawing, marks

from zipformer.evaluation.results import Mode
from zipformer.report.chart import Point
from zipformer.report.compare import Entry
from zipformer.report.wer_chart import wer_chart


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


def marked(entries: list[Entry]) -> list[Point]:
    return [p for line in wer_chart(entries).lines for p in line.points if p and p.mark]


def test_every_result_is_one_mark_hollow_if_no_stream_gives_it() -> None:
    found = [point.mark for point in marked(ENTRIES) if point.mark]
    assert len({mark.title for mark in found}) == len(ENTRIES)
    hollow = [mark.title for mark in found if mark.hollow]
    assert len(hollow) == 1 and "not streamable" in hollow[0]
    assert sorted(marks(drawing(wer_chart(ENTRIES)))) == sorted(mark.title for mark in found)


def test_a_mark_says_its_run_set_errors_context_latency_and_mode() -> None:
    titles = [point.mark.title for point in marked([entry("32/256/64", 9.0)]) if point.mark]
    assert titles[0].startswith("run<1>, epoch30-avg9, set clean: ")
    assert titles[0].endswith(" at 32/256/64 (1090 ms), windowed")


def test_the_shape_of_a_mark_tells_its_chunk() -> None:
    chart = wer_chart(ENTRIES)
    assert [mark.title for mark in chart.shapes] == [
        "chunk 32 (320 ms)",
        "chunk 64 (640 ms)",
        "full",
    ]
    meaning = {mark.shape: mark.title.split(" (")[0] for mark in chart.shapes}
    for point in marked(ENTRIES):
        assert point.mark is not None
        context = point.mark.title.split(" at ")[1].split(" (")[0]
        assert meaning[point.mark.shape] in (context, f"chunk {context.split('/')[0]}")


def test_the_legend_has_a_line_for_each_set_and_mode() -> None:
    legend = wer_chart(ENTRIES).legend
    assert [(line.label, line.color, line.style) for line in legend] == [
        ("run<1>, epoch30-avg9, greedy, set clean, windowed", 0, "solid"),
        ("run<1>, epoch30-avg9, greedy, set babble, windowed", 1, "solid"),
        (
            "run<1>, epoch30-avg9, greedy, set clean, masked (hollow: not streamable)",
            0,
            "dashed",
        ),
    ]


def test_short_labels_leave_out_what_all_lines_share() -> None:
    labels = [line.label for line in wer_chart(ENTRIES, short_labels=True).legend]
    assert labels[:2] == ["set clean, windowed", "set babble, windowed"]
    alone = wer_chart(ENTRIES[:2], short_labels=True).legend
    assert [line.label for line in alone] == ["run<1>, epoch30-avg9, greedy, set clean, windowed"]


def test_latencies_and_rates_are_where_they_are_on_their_axes() -> None:
    chart = wer_chart(ENTRIES)
    assert "latency in ms" in chart.x.label and chart.y.label == "word error rate in %"
    places = {(p.x, p.y) for p in marked(ENTRIES[1:])}
    assert (450, 12.0) in places and (3010, 8.0) in places and (770, 10.0) in places


def test_full_context_has_a_place_of_its_own_and_a_dotted_line_leads_to_it() -> None:
    chart = wer_chart(ENTRIES)
    place = next(value for value, text in chart.x.ticks if text == "full")
    assert chart.x.break_at is not None and 3010 < chart.x.break_at < place < chart.x.high
    dotted = [line for line in chart.lines if line.style == "dotted"]
    assert [[(p.x, p.y) for p in line.points if p] for line in dotted] == [
        [(3010, 8.0), (place, 5.0)]
    ]
    assert "full" not in [text for _, text in wer_chart(ENTRIES[1:]).x.ticks]


@pytest.mark.parametrize(
    "entries",
    [[entry("full", 5.0)], [entry("32/256/0", 0.0)], [entry("full", 0.0), entry("64/256/0", 0.0)]],
    ids=["full only", "one without errors", "no errors"],
)
def test_few_results_can_be_drawn(entries: list[Entry]) -> None:
    assert len(marks(drawing(wer_chart(entries)))) == len(entries)


def test_a_wide_range_of_latencies_is_drawn_on_a_logarithmic_axis() -> None:
    narrow = wer_chart([entry("32/256/0", 3.0), entry("64/256/0", 2.0)])
    wide = wer_chart([entry("32/256/0", 3.0), entry("32/256/256", 2.0)])
    assert not narrow.x.log and wide.x.log and "(logarithmic)" in wide.x.title
