"""Any sound file becomes the samples that its sound has at 16 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import Recording
from lhotse.serialization import deserialize_item
from lhotse.utils import fastcopy
from torch import Tensor

from zipformer.data.audio import UnreadableCut, cut_samples, resample
from zipformer.data.sound_files import read_audio

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


def test_channels_are_averaged_with_a_warning_if_they_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left, right = tone(16000), np.zeros(16000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    wanted = torch.from_numpy(left / 2).float()
    torch.testing.assert_close(read_audio(tmp_path / "a.wav"), wanted, atol=1e-6, rtol=0)
    assert "a.wav: its 2 channels differ" in caplog.text


def test_equal_channels_need_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(16000)] * 2, axis=1), 16000)
    soundfile.write(tmp_path / "b.wav", tone(16000), 16000)
    assert torch.equal(read_audio(tmp_path / "a.wav"), read_audio(tmp_path / "b.wav"))
    assert not caplog.text


def test_at_its_own_rate_a_file_is_what_it_was_bit_for_bit(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "a.wav").numpy(), samples)
    cut = Recording.from_file(tmp_path / "a.wav").to_cut()
    assert np.array_equal(cut_samples(cut, 16000), samples)


def test_resampling_leaves_no_alias() -> None:
    high = np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000)  # above half of 16 kHz
    assert np.abs(resample(high, 48000, 16000)[500:-500]).max() < 0.01


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_tone_below_both_limits_stays_the_same_tone(rate: int) -> None:
    there = resample(tone(rate), rate, 16000)
    np.testing.assert_allclose(there[800:-800], tone(16000)[800:-800], atol=1e-3)
    back = resample(there, 16000, rate)
    np.testing.assert_allclose(back[4000:-4000], tone(rate)[4000:-4000], atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_file_and_a_cut_that_is_resampled_give_the_same_samples(
    tmp_path: Path, rate: int
) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, rate).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    cut = Recording.from_file(tmp_path / "a.wav").to_cut().resample(16000)
    for each in (cut, deserialize_item(cut.to_dict())):  # also as a manifest stores it
        assert np.array_equal(cut_samples(each, 16000), read_audio(tmp_path / "a.wav").numpy())


def test_every_channel_is_resampled_by_itself() -> None:
    both = np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32)
    wanted = np.stack([resample(channel, 8000, 16000) for channel in both])
    assert np.array_equal(resample(both, 8000, 16000), wanted)


def test_a_cut_that_is_no_single_channel_at_the_rate_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((16000, 2)), 16000)
    cut = Recording.from_file(tmp_path / "a.wav").to_cut()
    with pytest.raises(ValueError, match=r"cut a.* \(.*a\.wav\) has 2 channels.*to_mono"):
        cut_samples(cut, 16000)
    left, _ = cut.to_mono()
    assert cut_samples(left, 16000).shape == (16000,)
    with pytest.raises(ValueError, match=r"a\.wav.*16000 Hz.*8000 Hz"):
        cut_samples(left, 8000)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(UnreadableCut, match=r"cut a-.*: .*a\.wav cannot be read \(.*; mend"):
        cut_samples(left, 16000)
    with pytest.raises(ValueError, match=r"cut a-.* has no recording"):
        cut_samples(fastcopy(left, recording=None), 16000)


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
