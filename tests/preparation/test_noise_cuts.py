"""local/noise_cuts.py: a step of data preparation."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from preparation.steps import read, run_script

from local.noise_cuts import find_audio


def write_noise(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16000))
    soundfile.write(path, samples, 16000)


def test_a_folder_of_noise_is_cut_into_pieces(tmp_path: Path) -> None:
    musan = tmp_path / "musan"
    write_noise(musan / "music" / "a.wav", 4.8)  # two pieces of 2 s; the rest is too short
    write_noise(musan / "noise" / "free" / "a.flac", 3.0)  # one of 2 s, one of 1 s
    write_noise(musan / "noise" / "short.wav", 0.5)  # one, as it is
    (musan / "LICENSE").write_text("text")
    (musan / "noise" / "broken.wav").write_bytes(b"RIFF")
    options = ["--seconds", "2", "--prefix", "musan", "--out", tmp_path / "musan_cuts.jsonl.gz"]
    done = run_script("local/noise_cuts.py", "--audio-dir", musan, *options)
    assert done.returncode == 0, done.stderr
    assert "left out 1: damaged audio: noise-broken" in done.stdout
    cuts = read(tmp_path / "musan_cuts.jsonl.gz")
    assert [(cut.id, cut.start, cut.duration) for cut in cuts] == [
        ("musan-music-a-0", 0.0, 2.0),
        ("musan-music-a-2", 2.0, 2.0),
        ("musan-noise-free-a-0", 0.0, 2.0),
        ("musan-noise-free-a-2", 2.0, 1.0),
        ("musan-noise-short-0", 0.0, 0.5),
    ]
    assert all(cut.load_audio().shape == (1, cut.num_samples) for cut in cuts)


@pytest.mark.parametrize("folder", ["no", "."])
def test_a_folder_without_audio_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(FileNotFoundError, match="not found|holds no audio"):
        find_audio(tmp_path / folder)


def test_files_whose_paths_give_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a/b.wav", "a-b.wav", "a/b.flac", "c.wav"):
        write_noise(tmp_path / name, 0.1)
    assert [u.name for u in find_audio(tmp_path)] == ["a/b.flac", "a/b.wav", "a-b.wav", "c"]
