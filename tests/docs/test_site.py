"""The site is built without a warning: no dead link, no page left out, every docstring read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="pip install -e '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command += ["-d", str(tmp_path / "read"), "-c", "docs/site", ".", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "site/docs/site/index.html").read_text(encoding="utf-8")
    assert 'href="../streaming.html"' in start and 'href="../api.html"' in start
    api = (tmp_path / "site/docs/api.html").read_text(encoding="utf-8")
    assert 'id="zipformer.streaming.recognizer.Recognizer.look_ahead"' in api
    assert 'id="zipformer.losses.transducer.' in api
