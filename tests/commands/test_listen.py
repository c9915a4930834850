"""Words from a microphone, written as they come: those of a stream that hears the same."""

from __future__ import annotations

import io
import re
import sys
import types
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from trained_digits import CHECKPOINT, trained

from zipformer import Context
from zipformer.commands.listen import CLEAR, DIM, PLAIN, fitted, listen
from zipformer.data.audio import resample
from zipformer.data.sound_files import read_audio
from zipformer.streaming import Recognizer
from zipformer.streaming.microphone import microphone

SPOKEN = CHECKPOINT.parent / "recordings" / "jackson.flac"
TEXT = SPOKEN.with_suffix(".txt").read_text().strip()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FakeMicrophones(types.ModuleType):
    """What sounddevice does with one microphone at 48 kHz that plays a sound."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, sound: np.ndarray) -> None:
        super().__init__("sounddevice")
        self.sound = sound

    def query_devices(self, device: object, kind: str) -> dict[str, float]:
        if device == 7:
            raise self.PortAudioError("no device 7")
        return {"default_samplerate": 48000.0}

    def InputStream(self, **how: Any) -> FakeStream:
        assert (how["channels"], how["dtype"], how["samplerate"]) == (1, "float32", 48000)
        return FakeStream(self.sound, how["blocksize"], how["callback"])


class FakeStream:
    def __init__(self, sound: np.ndarray, size: int, callback: Callable[..., None]) -> None:
        self.pieces = [sound[i : i + size, None] for i in range(0, len(sound), size)]
        self.callback = callback

    def __enter__(self) -> None:
        for piece in self.pieces:
            self.callback(piece, len(piece), None, None)

    def __exit__(self, *_: object) -> None:
        pass


def interrupted(sound: np.ndarray) -> Iterator[np.ndarray]:
    yield from np.array_split(sound, 60)
    raise KeyboardInterrupt


def test_words_are_written_as_they_come() -> None:
    recognizer = Recognizer.of(trained(), Context(32, 256, 64))
    sound, screen = read_audio(SPOKEN).numpy(), Terminal()
    result = listen(recognizer, interrupted(sound), screen)
    assert result.text == TEXT
    lines = screen.getvalue().split(CLEAR)
    assert lines[-1] == f"{TEXT}\n"
    first = TEXT.split()[0]
    assert any(re.search(f"{re.escape(DIM)} [a-z]", line) for line in lines), "never provisional"
    assert any(line.startswith(first) and DIM in line for line in lines)


def test_a_file_gets_the_final_words_alone() -> None:
    screen = io.StringIO()
    sound = read_audio(SPOKEN).numpy()
    listen(Recognizer.of(trained(), Context(32, 256)), np.array_split(sound, 9), screen)
    assert screen.getvalue() == f"{TEXT}\n"


@pytest.mark.parametrize(
    ("text", "provisional", "shown"),
    [
        ("one two", " three", "one two" + DIM + " three" + PLAIN),
        ("one two three four", " five", "three four" + DIM + " five" + PLAIN),
        ("", "x" * 50, DIM + "x" * 15 + PLAIN),
    ],
)
def test_a_line_ends_with_the_newest_words(text: str, provisional: str, shown: str) -> None:
    assert fitted(text, provisional, 16) == shown


def test_another_rate_is_resampled_as_a_whole_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    monkeypatch.setitem(sys.modules, "sounddevice", FakeMicrophones(sound))
    with microphone(16000) as heard:
        found = np.concatenate(list(islice(heard, 10)))
    assert 15000 < len(found) <= 16000  # the resampler keeps some back
    np.testing.assert_array_equal(found, resample(sound, 48000, 16000)[: len(found)])
    with pytest.raises(ValueError, match=r"no microphone \(no device 7\): 'python -m sounddevice'"):
        microphone(16000, "7").__enter__()


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[mic\]'"):
        microphone(16000).__enter__()
