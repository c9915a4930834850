"""The serving scripts run as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from trained_digits import CHECKPOINT, write_strings

SCRIPTS = Path(__file__).parents[2] / "scripts"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.slow


def script(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=300,
    )


@contextmanager
def served(*arguments: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server, and its process; what it says first is checked."""
    command = [sys.executable, SCRIPTS / "serve.py", CHECKPOINT, "--port", 0, *arguments]
    server = subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        assert server.stdout is not None
        assert "chunk 32 (320 ms), left 256 (2560 ms), right 64" in server.stdout.readline()
        line = server.stdout.readline()
        assert line.startswith("listening on ws://127.0.0.1:")
        yield line.split()[-1], server
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_and_loadtest_and_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    audio = write_strings(tmp_path, 3)
    with served("--left", 256, "--right", 64) as (uri, server):
        options = ("--audio", audio, "--concurrency", 1, 4, "--calls", 6, "--pace", "fast")
        done = script("loadtest", uri, *options, "--label", "right 64", "--out", ".", cwd=tmp_path)
        server.send_signal(number)
        assert server.wait(timeout=60) == 0
        assert server.stdout is not None and server.stdout.read() == ""
    assert done.returncode == 0, done.stderr
    assert "| right 64 | 1             | fast" in done.stdout
    levels = json.loads((tmp_path / "loadtest.json").read_text())
    assert [level["concurrency"] for level in levels] == [1, 4]
    assert all(level["words_lost"] == level["failed"] == 0 for level in levels)
    assert (tmp_path / "loadtest.svg").exists() and (tmp_path / "loadtest.csv").exists()


def test_latency_prints_a_table(tmp_path: Path) -> None:
    audio = write_strings(tmp_path, 1)
    options = ("--contexts", "32/256/0 32/256/64", "--sets", f"mine={audio}", "--live")
    done = script(
        "latency", CHECKPOINT, *options, "--calls", 1, "--json", "latency.json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "| mine | 32/256/64        | 1090 " in done.stdout
    rows = json.loads((tmp_path / "latency.json").read_text())
    assert [row["look_ahead"] for row in rows] == [450, 1090]
    assert all(row["emission"]["p50"] <= row["final"]["p50"] for row in rows)
    assert all(row["server"]["p50"] > 0 and row["rtf"] > 0 for row in rows)


def test_what_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    for arguments, reason in (
        (("--chunk", -1), "a stream needs a finite chunk"),
        (("--chunk", 32, "--left", 256, "--port", 70_000), "cannot listen on 127.0.0.1"),
    ):
        done = script("serve", CHECKPOINT, *arguments, cwd=tmp_path)
        assert done.returncode == 1 and reason in done.stderr
        assert done.stderr.strip().count("\n") == 0
    done = script("loadtest", "ws://127.0.0.1:1", "--audio", "missing.jsonl", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: cuts manifest missing.jsonl")
