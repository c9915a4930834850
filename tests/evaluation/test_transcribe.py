"""Recordings become words with times, at whatever rate, length and context."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_run import tiny_run

from zipformer.checkpoint.loading import LoadedModel
from zipformer.context import Context
from zipformer.evaluation import transcribe
from zipformer.evaluation.transcribe import Transcriber
from zipformer.streaming import Recognizer


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


def noise(seconds: float, rate: int = 16000) -> np.ndarray:
    return 0.1 * np.random.default_rng(5).standard_normal(int(rate * seconds))


@pytest.mark.parametrize("context", ["full", "32/128/64"])
def test_a_file_gives_text_and_words_in_time(
    loaded: LoadedModel, tmp_path: Path, context: str
) -> None:
    soundfile.write(tmp_path / "a.wav", noise(3.0), 16000)
    found = Transcriber(loaded, Context.parse(context)).file(tmp_path / "a.wav")
    assert found.file == str(tmp_path / "a.wav") and found.context == context
    assert found.seconds == pytest.approx(3.0)
    assert found.words and found.text == " ".join(w.text for w in found.words)
    times = [t for w in found.words for t in (w.start, w.end)]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= 3.0
    assert all(0 < w.confidence <= 1 for w in found.words)


def test_stereo_gives_the_words_of_mono(loaded: LoadedModel, tmp_path: Path) -> None:
    sound = noise(2.0)
    soundfile.write(tmp_path / "mono.wav", sound, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.wav", np.stack([sound] * 2, 1), 16000, subtype="FLOAT")
    transcriber = Transcriber(loaded, Context.full())
    mono, stereo = (transcriber.file(tmp_path / f"{n}.wav") for n in ("mono", "stereo"))
    assert mono.words == stereo.words and mono.words


@pytest.mark.parametrize("num_samples", [1, 100, 159, 161, 900, 1600])
def test_too_little_audio_for_a_word_is_no_error(loaded: LoadedModel, num_samples: int) -> None:
    for context in (Context.full(), Context(32, 128, 64)):
        assert len(Transcriber(loaded, context).words(torch.randn(num_samples))) <= 1


def test_long_audio_is_heard_as_a_stream_with_the_same_words(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcriber = Transcriber(loaded, Context(32, 128, 64))
    samples = torch.from_numpy(noise(4.0)).float()
    whole = transcriber.words(samples)
    calls, accept = [], Recognizer.accept
    monkeypatch.setattr(transcribe, "LONG_SECONDS", 2.0)
    monkeypatch.setattr(Recognizer, "accept", lambda *a: calls.append(1) or accept(*a))
    assert transcriber.words(samples) == whole and len(calls) > 1


def test_an_untrained_context_is_warned_of_with_the_menu(
    loaded: LoadedModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Transcriber(loaded, Context(32, 128, 64))
        assert not caplog.records
        Transcriber(loaded, Context(32, 256, 16))
    assert "chunk 32, 64, inf; left 128; right 0, 64" in caplog.text
