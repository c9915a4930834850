"""Load tests of one folder stand side by side: in files, in tables and in a plot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report.drawn import marks, parsed, texts

from zipformer.evaluation.table import to_markdown
from zipformer.report.load_chart import load_charts
from zipformer.report.load_test import collect_levels, crossed_table, level_table, read_levels
from zipformer.serving.load import Level

LEVEL = Level("right 0", 1, "fast", 9, 0, 18, 0, 0.0, 10.0, 20.0, 30.0, 1.0, 1.1, 5.0, 0.0)
CROSSED = [
    replace(LEVEL, label=f"right {right}", concurrency=calls, latency_p50=float(right + calls))
    for right in (0, 64)
    for calls in (1, 10)
]


def test_a_folder_collects_levels_and_new_ones_replace_old_ones(tmp_path: Path) -> None:
    collect_levels(tmp_path, [replace(LEVEL, label="right 128"), LEVEL])
    collect_levels(tmp_path, [replace(LEVEL, label="right 64", concurrency=10), LEVEL])
    newer = replace(LEVEL, latency_p50=None, wer=None)
    merged = collect_levels(tmp_path, [newer])
    assert [(level.label, level.concurrency) for level in merged] == [
        ("right 0", 1),
        ("right 64", 10),
        ("right 128", 1),
    ]
    assert merged[0] == newer and read_levels(tmp_path / "loadtest.json") == merged
    lines = (tmp_path / "loadtest.csv").read_text().splitlines()
    assert len(lines) == 4 and lines[0].startswith("label,concurrency,pace,calls,failed")
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv", ".svg"}
    (tmp_path / "loadtest.json").write_text('[{"label": "x"}]')
    with pytest.raises(ValueError, match=r"loadtest.json is no load test"):
        collect_levels(tmp_path, [LEVEL])


def test_tables_cross_what_was_served_with_the_calls() -> None:
    other = replace(LEVEL, label="right 64", concurrency=10, latency_p50=55.5, rtf_p50=1.05)
    crossed = crossed_table([LEVEL, other])
    assert crossed.head == ["latency / RTF, medians", "1 calls", "10 calls"]
    assert crossed.rows == [
        ["right 0 (fast)", "10 ms / 1.000", "-"],
        ["right 64 (fast)", "-", "56 ms / 1.050"],
    ]
    table = to_markdown(level_table([LEVEL, replace(LEVEL, wer=None, latency_p99=None)]))
    assert "10 / 20 / 30" in table and "10 / 20 / -" in table


def test_the_plot_has_a_mark_for_every_level_in_both_charts(tmp_path: Path) -> None:
    collect_levels(tmp_path, CROSSED)
    tree = parsed((tmp_path / "loadtest.svg").read_text())
    assert len(marks(tree)) == 2 * len(CROSSED)
    assert "right 64, 10 calls at once: 74, 90 % below 20" in marks(tree)
    assert "right 0, 1 call at once: 1, 90 % below 1.1" in marks(tree)
    assert {"right 0", "right 64", "1 call at once", "10 calls at once"} <= set(texts(tree))
    assert [text for text in texts(tree) if "p50" in text] == [
        "final-chunk latency in ms (p50 to p90) (logarithmic)",
        "real-time factor (p50 to p90)",
    ]


@pytest.mark.parametrize("slow", [1.0, 1000.0], ids=["linear", "logarithmic"])
def test_higher_is_slower(tmp_path: Path, slow: float) -> None:
    levels = [
        replace(level, latency_p50=1 + slow * (i + 1), latency_p90=5000.0)
        for i, level in enumerate(CROSSED)
    ]
    levels[0] = replace(levels[0], latency_p50=1.0)
    latency = load_charts(levels)[0]
    heights = {p.mark.title: p.y for line in latency.lines for p in line.points if p and p.mark}
    collect_levels(tmp_path, levels)
    places = marks(parsed((tmp_path / "loadtest.svg").read_text()))
    assert sorted(heights, key=heights.__getitem__) == sorted(
        heights, key=lambda title: -places[title][1]
    )


def test_of_one_thing_served_the_numbers_of_calls_go_from_left_to_right() -> None:
    latency, _ = load_charts(CROSSED[:2])
    assert [text for _, text in latency.x.ticks] == ["1 call at once", "10 calls at once"]
    assert [line.label for line in latency.lines] == ["right 0"]
    latency, _ = load_charts(CROSSED)
    assert [text for _, text in latency.x.ticks] == ["right 0", "right 64"]
    assert [line.label for line in latency.lines] == ["1 call at once", "10 calls at once"]


def test_levels_without_times_are_left_out_and_zeros_can_be_drawn() -> None:
    failed = replace(LEVEL, latency_p50=None, latency_p90=None, rtf_p50=None, rtf_p90=None)
    for chart in load_charts([failed, replace(failed, concurrency=2)]):
        assert not any(line.points for line in chart.lines)
    instant = replace(LEVEL, concurrency=2, latency_p50=0.0, latency_p90=900.0)
    latency, _ = load_charts([LEVEL, instant])
    assert latency.y.log
    assert all(0 <= latency.y.share(p.y) < 1 for p in latency.lines[0].points if p)
