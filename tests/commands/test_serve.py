"""Serving, load tests and latencies as a user has them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands.calling import ENVIRONMENT, ROOT, SCRIPTS, Caller
from lhotse import CutSet
from tiny_run import tiny_run, write_cuts, write_epochs
from trained_digits import CHECKPOINT, read_strings, write_strings

from zipformer import Context
from zipformer.checkpoint.loading import load_model
from zipformer.commands.eight_bits import word_error_line
from zipformer.commands.fast_steps import fast_recognizer
from zipformer.serving.recordings import Recordings
from zipformer.streaming import Recognizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with one epoch, and with ``clips.jsonl.gz`` to say to its server."""
    folder = tmp_path_factory.mktemp("exp") / "tiny"
    folder.mkdir()
    write_epochs(folder, tiny_run(folder), 1)
    write_cuts(folder, "clips", ["one two", "three", "nine nine"])
    return folder


@contextmanager
def served(run: Path, *options: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server, and its process; what it says first is checked."""
    command = [sys.executable, SCRIPTS / "serve.py", run, "--port", 0, "--right", 64, *options]
    server = subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().endswith(f"{run}\n")
        assert "chunk 32 (320 ms), left 128 (1280 ms), right 64" in server.stdout.readline()
        assert server.stdout.readline().startswith("page: http://127.0.0.1:")
        line = server.stdout.readline()
        if "--processes" in options:
            assert line == "2 processes, threads in each: 1\n"
            line = server.stdout.readline()
        assert line.startswith("listening on ws://127.0.0.1:")
        yield line.split()[-1], server
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def read_health(uri: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{uri.replace('ws', 'http', 1)}/health", timeout=30) as answer:
        return json.load(answer)


def ends_in_order(server: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a signal ends a server without an error and without another word."""
    server.send_signal(number)
    assert server.stdout is not None
    return server.wait(timeout=60) == 0 and server.stdout.read() == ""


def test_a_server_hears_a_load_test_and_ends_at_a_signal(
    call: Caller, run: Path, tmp_path: Path
) -> None:
    with served(run) as (uri, server):
        options = ("--audio", run / "clips.jsonl.gz", "--concurrency", 1, 4, "--calls", 6)
        options += ("--pace", "fast", "--label", "right 64", "--out", ".")
        done = call("loadtest", uri, *options, cwd=tmp_path)
        assert ends_in_order(server, signal.SIGTERM)
    assert done.status == 0, done.stderr
    assert "| right 64 | 1             | fast" in done.stdout
    levels = json.loads((tmp_path / "loadtest.json").read_text())
    assert [level["concurrency"] for level in levels] == [1, 4]
    assert all(level["words_lost"] == level["failed"] == 0 for level in levels)
    assert (tmp_path / "loadtest.svg").exists() and (tmp_path / "loadtest.csv").exists()


def test_two_processes_serve_at_one_address(call: Caller, run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    options = ("--processes", 2, "--threads", 1, "--keep-audio", kept)
    with served(run, *options) as (uri, server):
        options = ("--audio", run / "clips.jsonl.gz", "--concurrency", 4, "--calls", 8)
        done = call("loadtest", uri, *options, "--pace", "fast", cwd=tmp_path)
        deadline = time.monotonic() + 30
        while read_health(uri)["streams"]:  # what the other process has is known a little later
            assert time.monotonic() < deadline
        assert read_health(uri)["steps"] > 0
        assert ends_in_order(server, signal.SIGINT)
    assert done.status == 0, done.stderr
    assert "4 at once: 0 words lost, 0 of 8 calls failed" in done.stderr
    assert len(list(kept.iterdir())) == 3 + 8  # the three clips alone, and the calls


def test_weights_of_8_bits_say_what_they_cost() -> None:
    loaded, context = load_model(CHECKPOINT), Context(32, 256, 64)
    exact = Recognizer.of(loaded, context)
    rounded = fast_recognizer(loaded, context, threads=1, int8=True)
    known = Recordings.of(CHECKPOINT.parent / "recordings")
    line = word_error_line(exact, rounded, known)
    assert re.fullmatch(
        r"8-bit weights: WER [0-9.]+ % at 32/256/64, with 32 bits 0\.00 % "
        r"\(21 words in 3 recordings\)",
        line,
    )
    assert "nobody has measured" in word_error_line(exact, rounded, Recordings())


def test_a_server_ends_at_the_keyboard_too(run: Path) -> None:
    with served(run) as (_, server):
        assert ends_in_order(server, signal.SIGINT)


def test_latency_prints_a_table(call: Caller, tmp_path: Path) -> None:
    string = read_strings(write_strings(tmp_path, 1))[0]
    end = string.truncate(offset=string.duration - 1.2)  # heard at the pace of speech, so short
    CutSet.from_cuts([end]).to_file(tmp_path / "end.jsonl")
    options = ("--contexts", "32/256/0 32/256/64", "--sets", "mine=end.jsonl", "--live")
    options += ("--calls", "1", "--json", "latency.json")
    done = call("latency", CHECKPOINT, *options, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "| mine | 32/256/64        | 1090 " in done.stdout
    rows = json.loads((tmp_path / "latency.json").read_text())
    assert [row["look_ahead"] for row in rows] == [450, 1090]
    assert all(row["counted"] == 1 for row in rows)
    assert all(row["emission"]["p50"] <= row["final"]["p50"] for row in rows)
    assert all(row["server"]["p50"] > 0 and row["rtf"] > 0 for row in rows)


@pytest.mark.parametrize(
    "arguments,reason",
    [
        (("--chunk", 32, "--left", -1), "a stream needs a finite chunk"),
        (("--chunk", 32, "--port", 70_000), "cannot listen on 127.0.0.1"),
    ],
    ids=["endless history", "no such port"],
)
def test_what_cannot_be_served_is_one_line(
    call: Caller, run: Path, tmp_path: Path, arguments: tuple[object, ...], reason: str
) -> None:
    done = call("serve", run, *arguments, cwd=tmp_path)
    assert done.status == 1 and reason in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_without_websockets_it_names_the_extra_in_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['websockets.asyncio.client'] = None; import zipformer_cli; "
    code += "zipformer_cli.main(['serve', '.'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1 and done.stderr.startswith("error: serving and its clients need")
    assert "pip install -e '.[serve]'" in done.stderr and done.stderr.count("\n") == 1
