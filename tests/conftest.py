"""Fixtures that every test may use."""

from pathlib import Path

import pytest
import torch
from browser import NO_BROWSER
from hypothesis import settings
from trained_digits import write_strings

# Machines are shared and noisy, and a test that fails must fail again.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

GOLDEN = Path(__file__).parent / "assets" / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="also the tests that take minutes, and all 200 strings of the digits, not only 12",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is marked as long, unless --full asks for it, and skips what has no GPU."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A loud word where there is no browser."""
    skipped = terminalreporter.stats.get("skipped", [])
    if any(NO_BROWSER in str(report.longrepr) for report in skipped):
        terminalreporter.section("PAGES WERE NOT OPENED", red=True, bold=True)
        terminalreporter.line(NO_BROWSER)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(20260101)


@pytest.fixture
def golden() -> Path:
    """The folder of reference numbers."""
    return GOLDEN


@pytest.fixture(scope="session")
def digit_strings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 12 strings of spoken digits; of the recipe's whole test set with --full."""
    count = 200 if request.config.getoption("--full") else 12
    return write_strings(tmp_path_factory.mktemp("digits"), count)
