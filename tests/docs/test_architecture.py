"""The page about the architecture says what the code does: the picture, and the two walks."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import soundfile
from trained_digits import trained
from training.tiny_corpus import tiny_asr_config, write_corpus

pytest.importorskip("websockets", reason="the walk of a chunk begins in the server")

from zipformer.context import Context
from zipformer.serving.client import transcribe
from zipformer.serving.running import serving
from zipformer.streaming import Recognizer
from zipformer.training.loop import fit

ROOT = Path(__file__).parents[2]
PACKAGE = f"{ROOT / 'zipformer'}/"
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
NETWORK = ("nn/", "heads/")  # one stop each, whatever runs inside
MOST_FILES = 16

Place = tuple[str, str]  # file, function


class Trace:
    """The files of the package that are entered between two moments, in order.

    Args:
        begin: The call to begin with.
        end: Whether a call is the last one.
    """

    def __init__(self, begin: Place, end: Callable[[Place, FrameType], bool]) -> None:
        self.begin, self.end = begin, end
        self.files: list[str] = []
        self.began = self.ended = False
        self.inside: dict[int, FrameType] = {}  # by thread, the call that is in the network

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        if not path.startswith(PACKAGE) or self.ended:
            return
        place, thread = (path.removeprefix(PACKAGE), frame.f_code.co_name), threading.get_ident()
        if event == "return" and self.inside.get(thread) is frame:
            del self.inside[thread]
        if event != "call" or thread in self.inside:
            return
        self.began |= place == self.begin
        if not self.began:
            return
        self.ended = self.end(place, frame)
        stop = next((part for part in NETWORK if place[0].startswith(part)), None)
        if stop:
            self.inside[thread] = frame
        if (stop or place[0]) not in self.files:
            self.files.append(stop or place[0])


def walk(title: str) -> list[str]:
    """The files of a walk on the page, in order."""
    section = PAGE.split(f"## {title}")[1].split("\n## ")[0]
    found = re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)
    assert found, title
    return found


def test_a_batch_goes_the_way_of_the_page_to_its_loss(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    trace = Trace(("data/batch.py", "to"), lambda place, _: place[0].startswith("losses/"))
    sys.setprofile(trace)
    try:
        fit(tiny_asr_config(tmp_path, tmp_path / "run", max_steps=1))
    finally:
        sys.setprofile(None)
    assert trace.ended
    wanted = walk("One batch: to its loss")
    assert ["training/loop.py", *trace.files] == wanted  # the loop calls data/batch.py
    assert len(wanted) <= MOST_FILES


def test_a_chunk_goes_the_way_of_the_page_to_its_word() -> None:
    samples, _ = soundfile.read(ROOT / "tests/assets/frozen/string.flac", dtype="float32")
    recognizer = Recognizer.of(trained(), Context(32, 256, 64))

    def says_a_word(place: Place, frame: FrameType) -> bool:
        writes = place == ("serving/messages.py", "result_message")
        return writes and bool(frame.f_locals["stream"].text)

    trace = Trace(("serving/server.py", "_listen"), says_a_word)
    threading.setprofile(trace)  # in the threads of the server, which begin from here on
    try:
        with serving(recognizer) as server:
            call = asyncio.run(transcribe(server.uri, samples, "fast"))
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
    assert trace.ended and call.text
    wanted = walk("One chunk: to its word")
    assert sorted(trace.files) == sorted(wanted)
    order = [trace.files.index(name) for name in ("serving/messages.py", "nn/", "tokens/pieces.py")]
    assert order == sorted(order)
    assert len(wanted) <= MOST_FILES


def test_the_picture_is_what_the_imports_say(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts/dev')!r})\n"
        "import draw_architecture; print(draw_architecture.picture(), end='')"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == (ROOT / "docs/architecture.svg").read_text(encoding="utf-8"), (
        "draw it anew: python scripts/dev/draw_architecture.py"
    )
