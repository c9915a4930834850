"""Speech ends where its energy ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trained_digits import read_strings

from zipformer.serving.speech_end import end_of_speech, end_of_words

RATE = 16000


def voice(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    """Noise that swells and fades four times a second, as syllables do."""
    time = np.arange(int(RATE * seconds)) / RATE
    swell = 0.6 - 0.4 * np.cos(8 * np.pi * time)
    return level * swell * np.random.default_rng(seed).standard_normal(len(time))


def silence(seconds: float, level: float = 0.0) -> np.ndarray:
    return level * np.random.default_rng(1).standard_normal(int(RATE * seconds))


def test_it_is_the_end_of_the_last_sound() -> None:
    audio = [silence(0.5), voice(1.0), silence(0.7), voice(0.5), silence(0.8)]
    assert end_of_speech(np.concatenate(audio)) == pytest.approx(2.7, abs=0.011)


@given(
    st.floats(0.3, 3.0), st.floats(0.2, 2.0), st.floats(0.0, 5e-3), st.sampled_from([1e-3, 1, 3e4])
)
def test_it_depends_neither_on_the_noise_nor_on_the_scale(
    speech: float, pause: float, noise: float, scale: float
) -> None:
    audio = np.concatenate([silence(0.3), voice(speech), silence(pause)])
    audio += silence(6.0, noise)[: len(audio)]
    assert end_of_speech(scale * audio) == pytest.approx(0.3 + speech, abs=0.06)


@pytest.mark.parametrize("at", [2.2, 2.5, 2.99])
def test_a_click_is_no_speech(at: float) -> None:
    audio = np.concatenate([voice(2.0), silence(1.0, 1e-4)])
    audio[int(RATE * at) : int(RATE * at) + 80] = 0.5
    assert end_of_speech(audio) == pytest.approx(2.0, abs=0.03)


def test_a_short_gap_ends_no_word_and_a_soft_word_after_a_pause_counts() -> None:
    word = np.concatenate([voice(1.0), silence(0.08), voice(0.1, 0.01), silence(0.5)])
    assert end_of_speech(word) == pytest.approx(1.18, abs=0.02)


@pytest.mark.parametrize("length", [0, 1, 100, 16000])
def test_digital_silence_has_no_speech(length: int) -> None:
    assert end_of_speech(np.zeros(length)) == 0.0


def test_sound_without_a_pause_ends_with_the_audio() -> None:
    assert end_of_speech(voice(1.5)) == pytest.approx(1.5, abs=0.03)
    assert end_of_speech(np.sin(np.arange(RATE))) == 1.0


def test_it_agrees_with_the_alignment_of_real_words(digit_strings: Path) -> None:
    cuts = read_strings(digit_strings)
    errors = [end_of_speech(cut.load_audio()[0]) - end_of_words(cut) for cut in cuts]
    assert abs(np.median(errors)) <= 0.02
    assert np.percentile(np.abs(errors), 80) <= 0.1
    assert max(errors) <= 0.05  # a recorded word may end in silence, but nothing comes after it


def test_a_cut_without_alignment_is_named(digit_strings: Path) -> None:
    cut = read_strings(digit_strings)[0].drop_alignments()
    with pytest.raises(ValueError, match=f"{cut.id} has no alignment .* --speech-end energy"):
        end_of_words(cut)
