"""Any sound file becomes the samples that its sound has at 16 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from zipformer.data.audio import read_audio, resample

TONE = 440.0


def tone(rate: int, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * TONE * np.arange(int(rate * seconds)) / rate)


def loudest_frequency(samples: Tensor, rate: int = 16000) -> float:
    spectrum = torch.fft.rfft(samples).abs()
    return float(spectrum.argmax()) * rate / len(samples)


FILES = [
    ("pcm.wav", 16000, "PCM_16"),
    ("telephone.wav", 8000, "PCM_16"),
    ("float.wav", 22050, "FLOAT"),
    ("studio.flac", 96000, "PCM_24"),
    ("disc.mp3", 44100, "MPEG_LAYER_III"),
    ("net.ogg", 44100, "VORBIS"),
    ("call.opus", 48000, "OPUS"),
]


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
@pytest.mark.parametrize("name,rate,subtype", FILES, ids=[f[0] for f in FILES])
def test_every_format_and_rate_gives_the_same_sound(
    tmp_path: Path, name: str, rate: int, subtype: str, channels: int
) -> None:
    container = {"opus": "OGG"}.get(name.split(".")[-1], name.split(".")[-1].upper())
    if not soundfile.check_format(container, subtype):
        pytest.skip(f"this libsndfile cannot write {container} {subtype}")
    path = tmp_path / name
    sound = np.stack([tone(rate)] * channels, axis=1)
    soundfile.write(path, sound, rate, format=container, subtype=subtype)
    samples = read_audio(path)
    assert samples.dtype == torch.float32 and samples.ndim == 1
    assert abs(len(samples) - 16000) < 1600  # mp3 adds silence
    assert loudest_frequency(samples) == pytest.approx(TONE, abs=2.0)
    middle = samples[4000:12000]
    assert float(middle.square().mean().sqrt()) == pytest.approx(0.5 / 2**0.5, rel=0.05)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(16000), np.zeros(16000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    wanted = torch.from_numpy(left / 2).float()
    torch.testing.assert_close(read_audio(tmp_path / "a.wav"), wanted, atol=1e-6, rtol=0)


def test_resampling_leaves_no_alias() -> None:
    high = np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000)  # above half of 16 kHz
    assert np.abs(resample(high, 48000, 16000)[500:-500]).max() < 0.01


@pytest.mark.parametrize(
    "content,reason",
    [(None, "no such file"), (b"", "cannot be read"), (b"no sound at all" * 50, "cannot be read")],
    ids=["missing", "empty", "text"],
)
def test_what_is_no_audio_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "broken.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as error:
        read_audio(path)
    assert str(path) in str(error.value)


def test_audio_without_samples_or_with_wrong_ones_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    with pytest.raises(ValueError, match=r"none\.wav: holds no audio"):
        read_audio(tmp_path / "none.wav")
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"nan\.wav: holds samples that are not finite"):
        read_audio(tmp_path / "nan.wav")
