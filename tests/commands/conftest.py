"""Fixtures of the tests of commands."""

from __future__ import annotations

import pytest
from commands.calling import Caller


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    """Calls a verb in this process."""
    return Caller(capsys, monkeypatch)
