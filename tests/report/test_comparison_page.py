"""The page that compares runs holds everything it shows."""

from __future__ import annotations

import re

from report.outline import assert_self_contained
from report.test_wer_chart import ENTRIES

from zipformer.report.comparison_page import to_html


def test_the_page_is_whole_and_loads_nothing() -> None:
    page = to_html(ENTRIES)
    assert_self_contained(page)
    assert "default-src 'none'" in page


def test_names_cannot_break_the_page() -> None:
    page = to_html(ENTRIES)
    assert "run<1>" not in page and "run&lt;1&gt;" in page


def test_rows_that_no_stream_gives_are_marked_on_the_page() -> None:
    rows = re.findall(r"<tr.*?</tr>", to_html(ENTRIES), re.DOTALL)
    marked = [row for row in rows if "barred" in row]
    assert len(marked) == 1 and "masked (not streamable)" in marked[0] and "7.00" in marked[0]


def test_error_rates_come_early_and_what_all_rows_share_stands_above() -> None:
    heads = re.findall(r"<th[^>]*>(.*?)</th>", to_html(ENTRIES))
    assert heads[:5] == ["chunk/left/right", "clean WER %", "babble WER %", "latency", "mode"]
    assert "The same in all rows: run run&lt;1&gt;; model epoch30-avg9; search greedy." in to_html(
        ENTRIES
    )
    assert "same in all rows" not in to_html(ENTRIES[:1])


def test_numbers_stand_to_the_right() -> None:
    cells = re.findall(r"<td( class=\"number\")?>(.*?)</td>", to_html(ENTRIES))
    assert {text for kind, text in cells if kind} >= {"12.00", "22.00", "7.00"}
    assert "windowed" in {text for kind, text in cells if not kind}


def test_the_plot_has_its_legend_and_says_where_to_point() -> None:
    page = to_html(ENTRIES)
    items = re.findall(r"<li>(.*?)</li>", page, re.DOTALL)
    items = [re.sub(r"<[^>]*>", "", item).strip() for item in items]
    assert items[0] == "run&lt;1&gt;, epoch30-avg9, greedy, set clean, windowed"
    assert items[-3:] == ["chunk 32 (320 ms)", "chunk 64 (640 ms)", "full"]
    assert "Point at a mark for its error counts" in page
    assert "<title>Word error rate over algorithmic latency</title>" in page
    assert "algorithmic latency in ms" in page and "word error rate in %" in page
