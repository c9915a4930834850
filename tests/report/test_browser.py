"""The page as a real browser shows it: wide and narrow, light and dark, with no network."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Tab
from evaluation.example_results import example
from report.example_run import CONTEXTS, HANDLER, SCRIPT
from report.test_wer_chart import ENTRIES

from zipformer.report.chart import to_svg_file
from zipformer.report.compare import Entry
from zipformer.report.comparison_page import to_html
from zipformer.report.wer_chart import wer_chart

pytestmark = pytest.mark.browser

OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true })"
# WCAG's ratio of the luminances of a text and of what is behind it.
CONTRAST = """(() => {
  const rgb = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = text => rgb(text).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => { for (let n = node; n; n = n.parentElement) {
    const color = getComputedStyle(n).backgroundColor;
    if (!color.startsWith('rgba(') || !color.endsWith(', 0)')) return light(color); }
    return 1; };
  return Math.min(...[...document.querySelectorAll('p, td, th, dt, dd, li, b, summary, .pair span')]
    .filter(node => node.innerText)
    .map(node => [light(getComputedStyle(node).color), behind(node)])
    .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
})()"""


def count(tab: Tab, selector: str) -> int:
    return int(tab.value(f"document.querySelectorAll({selector!r}).length"))


def test_what_a_bad_page_does_would_be_noticed(tab: Tab, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><title>bad</title><img src='http://example.invalid/x.png'>"
        "<div style='width: 900px'>wide</div><script>console.error('no'); lost()</script>"
    )
    tab.open(bad, width=360)
    assert "http://example.invalid/x.png" in tab.requests
    assert len(tab.complaints) >= 2
    assert tab.value("document.documentElement.scrollWidth") >= 900


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_it_asks_for_nothing_complains_of_nothing_and_fits(
    tab: Tab, report: Path, width: int, dark: bool
) -> None:
    tab.open(report, width, dark)
    tab.value(OPEN_ALL)
    assert tab.value("innerWidth") == width
    assert tab.value("document.documentElement.scrollWidth") == width
    assert tab.requests == [report.as_uri()]
    assert tab.complaints == []
    paper = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is not dark
    assert tab.value(CONTRAST) >= 4.5


def test_curves_plot_tables_and_words_are_there(tab: Tab, report: Path) -> None:
    tab.open(report)
    assert count(tab, "figure.small svg[role=img]") == 13
    curves = "[...document.querySelectorAll('.small .chart g > path:first-child')]"
    curves += ".map(p => p.getTotalLength())"
    assert len(tab.value(curves)) == 16 + 7 and min(tab.value(curves)) > 100
    assert tab.value("document.querySelector('figure svg').getBoundingClientRect().width") > 300
    assert count(tab, "figure.large .chart .mark > title") == 2 * len(CONTEXTS)
    assert count(tab, "table") == 5
    table = "[...document.querySelectorAll('table')].find(t => t.innerText.includes('clean WER'))"
    assert tab.value(f"{table}.rows.length") == 1 + len(CONTEXTS)
    assert count(tab, "details[open] article") == 4 and count(tab, ".pair.sub") > 0
    assert tab.value("document.querySelector('.pair.del').getBoundingClientRect().height") > 20


def test_an_attack_in_a_transcript_stays_text(tab: Tab, report: Path) -> None:
    tab.open(report)
    tab.value(OPEN_ALL)
    assert tab.value("document.title") == "unified <b>"
    assert count(tab, "script") == count(tab, "img") == 0
    shown = tab.value("document.body.innerText")
    assert SCRIPT in shown and HANDLER in shown and "&lt;b&gt;" in shown


def test_nothing_in_the_page_may_run(tab: Tab, report: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text().replace("</h1>", f"</h1>{SCRIPT}{HANDLER}"))
    tab.open(broken)
    assert tab.value("document.title") == "unified <b>"
    assert tab.complaints != []


def test_the_page_that_compares_runs_fits_a_phone_too(tab: Tab, tmp_path: Path) -> None:
    entries = [Entry("a run", example(c), Path("wer.json")) for c in CONTEXTS]
    page = tmp_path / "compare.html"
    page.write_text(to_html(entries))
    for dark in (False, True):
        tab.open(page, 360, dark)
        assert tab.value("document.documentElement.scrollWidth") == 360
        assert tab.requests == [page.as_uri()] and tab.complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_hollow_marks_are_hollow_on_any_paper(tab: Tab, tmp_path: Path, dark: bool) -> None:
    page = tmp_path / "compare.html"
    page.write_text(to_html(ENTRIES))
    tab.open(page, dark=dark)
    fill = tab.value("getComputedStyle(document.querySelector('.chart .mark.paper')).fill")
    assert fill == tab.value("getComputedStyle(document.body).backgroundColor")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_plot_in_a_file_of_its_own_brings_its_looks(tab: Tab, tmp_path: Path, dark: bool) -> None:
    file = tmp_path / "plot.svg"
    file.write_text(to_svg_file("plot", [wer_chart(ENTRIES)]))
    tab.open(file, dark=dark)
    assert tab.requests == [file.as_uri()] and tab.complaints == []
    paper = tab.value("getComputedStyle(document.querySelector('rect.paper')).fill")
    ink = tab.value("getComputedStyle(document.querySelector('text.ink')).fill")
    assert (paper == "rgb(255, 255, 255)") is not dark and paper != ink
