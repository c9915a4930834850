"""The browser that opens pages, and a loud word where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from report.browser import Tab, browser, find_browser
from report.example_run import write_run

from zipformer.report import write_report

NO_BROWSER = "no browser: install Debian's chromium, or name a Chrome or Edge in CHROME"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if any(NO_BROWSER in str(report.longrepr) for report in skipped):
        terminalreporter.section("PAGES WERE NOT OPENED", red=True, bold=True)
        terminalreporter.line(NO_BROWSER)


@pytest.fixture(scope="session")
def tab() -> Iterator[Tab]:
    """A page of a real browser that reaches nothing but files."""
    program = find_browser()
    if program is None:
        pytest.skip(NO_BROWSER)
    with browser(program) as opened:
        yield opened


@pytest.fixture(scope="session")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("exp"))


@pytest.fixture(scope="session")
def report(example_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about it."""
    return write_report(example_run, tmp_path_factory.mktemp("pages") / "report.html")
