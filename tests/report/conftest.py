"""The browser that opens pages of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import NOWHERE, Tab, browser, need_browser
from report.example_run import write_run

from zipformer.report import write_report


@pytest.fixture(scope="session")
def tab() -> Iterator[Tab]:
    """A page of a real browser that reaches nothing but files."""
    with browser(need_browser(), NOWHERE) as opened:
        yield opened


@pytest.fixture(scope="session")
def example_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("exp"))


@pytest.fixture(scope="session")
def report(example_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about it."""
    return write_report(example_run, tmp_path_factory.mktemp("pages") / "report.html")
