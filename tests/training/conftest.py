"""A run that several files compare with."""

from __future__ import annotations

from pathlib import Path

import pytest
from training.tiny_task import TinyTask, tiny_config

from zipformer.training.loop import fit


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted: 21 steps."""
    return fit(tiny_config(tmp_path_factory.mktemp("straight")), TinyTask())
