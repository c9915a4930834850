"""Sound files as disks hold them: wrong headers, early ends, other scales, several channels."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from data.small_corpus import make_cuts, write_cut

from local.lib.audio_files import decode
from local.lib.skipped import Unusable
from zipformer.data import sound_files
from zipformer.data.audio import UnreadableCut, cut_samples, resample
from zipformer.data.dataset import load_features
from zipformer.data.sound_files import num_channels, read_audio, sample_fault
from zipformer.streaming.samples import checked_samples


def noise(seconds: float = 1.0, rate: int = 16000, channels: int = 1) -> np.ndarray:
    shape = (int(rate * seconds), channels)
    return (0.1 * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    sound = noise(1.3, rate)
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    whole = read_audio(tmp_path / "a.wav")
    assert np.array_equal(whole.numpy(), resample(sound[:, 0], rate, 16000))
    monkeypatch.setattr(sound_files, "BLOCK", 777)
    assert torch.equal(read_audio(tmp_path / "a.wav"), whole)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_file_is_never_twice_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    soundfile.write(tmp_path / "a.wav", noise(20.0, rate), rate)
    monkeypatch.setattr(sound_files, "BLOCK", 10000)
    tracemalloc.start()
    samples = read_audio(tmp_path / "a.wav")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * samples.nbytes


def test_a_header_that_claims_too_much_is_not_believed(tmp_path: Path) -> None:
    """As that of a WAV or an MP3 that was written into a pipe: its length is not known."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(), 16000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", 0xFFFFFFFF)
    content[4:8] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(read_audio(path)) == 16000
    assert decode(path).num_samples == 16000


@pytest.mark.parametrize("name", ["a.ogg", "a.flac", "a.mp3", "a.wav"])
def test_a_file_that_ends_early_is_warned_of_or_an_error_that_names_it(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    soundfile.write(path, noise(8.0), 16000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    try:
        heard = len(read_audio(path))
    except ValueError as error:
        assert name in str(error)
        return
    assert 16000 < heard < 7 * 16000
    if name != "a.wav" and soundfile.info(path).frames > heard:  # libsndfile mends a WAV's header
        assert "ends early" in caplog.text


def test_one_rule_for_the_scale_wherever_samples_come_in(tmp_path: Path) -> None:
    wrong = write_cut(tmp_path, "wrong", 32768 * noise()[:, 0], "one")
    path = tmp_path / "wrong.wav"
    for heard in (
        lambda: read_audio(path),
        lambda: checked_samples(32768 * noise()[:, 0], 16000, 16000),
    ):
        with pytest.raises(ValueError, match="far beyond full scale"):
            heard()
    for read in (lambda: cut_samples(wrong, 16000), lambda: load_features(wrong, 16000)):
        with pytest.raises(UnreadableCut, match=r"cut wrong: .*wav holds samples far"):
            read()
    with pytest.raises(Unusable, match="far beyond full scale"):
        decode(path)
    loud = write_cut(tmp_path, "loud", 6 * noise()[:, 0], "one")  # a hot mix is none of this
    assert np.abs(cut_samples(loud, 16000)).max() > 1.2
    assert torch.isfinite(load_features(loud, 16000)).all()


def test_faults_of_samples() -> None:
    assert sample_fault(np.zeros(0, np.float32)) == sample_fault(np.ones(3, np.float32)) == ""
    for value in (np.nan, np.inf, -np.inf):
        assert "not finite" in sample_fault(np.array([0, value, 0], np.float32))
    assert "up to 20000" in sample_fault(np.array([0, -20000], np.float32))


def test_channels_are_heard_apart_when_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = noise(channels=2)
    soundfile.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")
    assert num_channels(tmp_path / "a.wav") == 2
    for channel in (0, 1):
        heard = read_audio(tmp_path / "a.wav", channel=channel)
        assert np.array_equal(heard.numpy(), sound[:, channel])
    assert not caplog.records
    read_audio(tmp_path / "a.wav")
    assert "its 2 channels differ" in caplog.text and "--channel each" in caplog.text
    with pytest.raises(ValueError, match="no channel 2; it has 2"):
        read_audio(tmp_path / "a.wav", channel=2)


def test_an_opposite_channel_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Their average is silence."""
    sound = noise()
    soundfile.write(tmp_path / "a.wav", np.concatenate([sound, -sound], axis=1), 16000)
    read_audio(tmp_path / "a.wav")
    assert "channels differ" in caplog.text


def test_cuts_are_read_as_files_are(tmp_path: Path) -> None:
    (cut,) = make_cuts(tmp_path, [1.0])
    source = Path(cut.recording.sources[0].source)
    assert np.array_equal(cut_samples(cut, 16000), read_audio(source).numpy())


def test_audio_of_a_format_that_is_not_read_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"\0\0\0 ftypM4A \0\0")
    (tmp_path / "b.pcm").write_bytes(b"\0\1" * 9000)
    for name, kind in (("a.wav", "MP4 or M4A"), ("b.pcm", "audio without a header")):
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as audio \({kind}\); conv"):
            read_audio(tmp_path / name)
