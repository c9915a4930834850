"""The README of an export holds commands that run as they stand."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from export.conftest import INT8
from kaldialign import edit_distance
from trained_digits import read_strings, trained

from zipformer.context import Context
from zipformer.export import Options, readme
from zipformer.export.runtime import OnnxModel

BIN = Path(sys.executable).parent
SPECIAL = Options(int8=True, sample_rate=8000)


def commands(text: str) -> list[list[str]]:
    """The shell commands of a README."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("  sherpa-onnx")]


def program(text: str) -> str:
    """The Python program of a README."""
    lines = text.split("Python\n\n")[1]
    for section in ("Smaller", "Hotwords", "Checked"):
        lines = lines.split(f"\n\n{section}")[0]
    return "\n".join(line.removeprefix("  ") for line in lines.splitlines())


def options(command: list[str]) -> dict[str, str]:
    return dict(word[2:].split("=") for word in command[1:] if word.startswith("--"))


@pytest.mark.sherpa
@pytest.mark.parametrize("context", [INT8, Context.full()], ids=str)
def test_its_commands_hear_a_recording(
    exported: Callable, digit_strings: Path, tmp_path: Path, context: Context
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported(context), folder)
    samples = read_strings(digit_strings)[0].load_audio()[0]
    soundfile.write(folder / "a.wav", samples, 16000, subtype="PCM_16")
    samples, _ = soundfile.read(folder / "a.wav", dtype="float32")
    words = trained().tokenizer.decode(OnnxModel(folder).decode([samples])[0].tokens)
    text = (folder / "README.txt").read_text()

    def run(command: list[str | Path]) -> str:
        path = f"{BIN}:{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def said(command: list[str]) -> str:
        lines = run([*command]).splitlines()
        (result,) = [json.loads(line) for line in lines if line.startswith("{")]
        heard: str = result["text"]
        return heard.strip()

    assert said(commands(text)[0]) == words
    (folder / "hotwords.txt").write_text("seven\n")
    hotwords = said(commands(text)[-1]).split()
    assert edit_distance(words.split(), hotwords)["total"] <= 2 and "seven" in hotwords
    assert run([sys.executable, "-c", program(text)]).splitlines()[-1].strip() == words


@pytest.mark.sherpa
def test_its_options_are_those_of_the_tools(exported: Callable) -> None:
    for command in commands((exported(INT8) / "README.txt").read_text()):
        done = subprocess.run([BIN / command[0], "--help"], capture_output=True, text=True)
        known = done.stdout + done.stderr
        for name in options(command):
            assert f"--{name} " in known, (command[0], name)


@pytest.mark.parametrize(
    ("context", "tail", "enough"),
    [
        (Context(32, 256, 0), "0.46", "are enough"),
        (Context(32, 256, 64), "1.10", "are not enough"),
        (Context(64, 256, 256), "3.34", "are not enough"),
    ],
    ids=str,
)
def test_the_tail_follows_from_the_context(
    tmp_path: Path, context: Context, tail: str, enough: str
) -> None:
    readme.write(tmp_path, readme.Export(context, Options(about={"model": "epoch3-avg1 of run"})))
    text = (tmp_path / "README.txt").read_text()
    recording, server, _ = commands(text)
    assert options(recording)["right-padding"] == tail == options(server)["end-tail-padding"]
    assert options(recording)["left-padding"] == "0"
    assert enough in text and "epoch3-avg1 of run" in text and context.describe() in text
    assert f"{context.latency_ms} ms" in text and "int8" not in text
    assert "feat-dim" not in text and "sample-rate" not in text


def test_what_sherpa_does_not_expect_is_said_to_it(tmp_path: Path) -> None:
    readme.write(tmp_path, readme.Export(Context(32, 128, 0), SPECIAL, 40))
    text = (tmp_path / "README.txt").read_text()
    for command in commands(text)[:2]:
        assert options(command)["sample-rate"] == "8000"
        assert options(command)["feat-dim"] == "40"
    assert "sample_rate=8000, feature_dim=40" in text and "encoder.int8.onnx" in text
