"""Long steps say how far they are: a bar on a terminal, a line every 15 seconds in a log."""

from __future__ import annotations

import sys

import pytest

from zipformer import progress as module
from zipformer.progress import Progress, shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the time is; whoever changes it makes time go by."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_15_seconds_with_what_is_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in shown(range(40), "features", 40, "cuts"):
        clock[0] += 2.0
    assert capsys.readouterr().err.splitlines() == [
        "features: 8 of 40 cuts (20 %), 1:04 min left",
        "features: 16 of 40 cuts (40 %), 0:48 min left",
        "features: 24 of 40 cuts (60 %), 0:32 min left",
        "features: 32 of 40 cuts (80 %), 0:16 min left",
        "features: 40 of 40 cuts (100 %), 0:00 min left",
    ]


def test_what_is_over_soon_says_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in shown(range(7), "features", 7, "cuts"):
        clock[0] += 2.0
    assert capsys.readouterr().err == ""


def test_without_an_end_it_counts(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("strings", 0, "strings") as progress:
        clock[0] += 15.0
        progress.add(3)
    assert capsys.readouterr().err == "strings: 3 strings\n"


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("features", 4, "cuts") as progress:
        assert progress._bar is not None and progress._bar.total == 4
        progress.add(4)
        assert progress._bar.n == 4
