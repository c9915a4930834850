import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data.small_corpus import make_cuts, with_features, write_cut, write_manifest
from lhotse import CutSet
from lhotse.cut import Cut

from zipformer.data.dataset import load_features
from zipformer.data.noise import NoiseMixer
from zipformer.data.seeds import generator_for


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "speech.jsonl.gz", make_cuts(tmp_path / "s", [3.005, 2.0]))


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    cuts = make_cuts(tmp_path / "n", [1.3, 5.0, 1.0], seed=1)
    return write_manifest(tmp_path / "noise.jsonl.gz", cuts)


def cuts_of(path: Path) -> list[Cut]:
    return list(CutSet.from_file(path))


def test_audio_gets_noise_at_the_ratio_asked_for(speech: Path, noise: Path) -> None:
    mixer = NoiseMixer(noise, prob=1.0, snr=(7.0, 7.0))
    for seed, cut in enumerate(cuts_of(speech)):
        clean = cut.load_audio()
        added = mixer(cut, generator_for(seed)).load_audio() - clean
        ratio = 10 * math.log10(np.mean(clean**2) / np.mean(added**2))
        assert ratio == pytest.approx(7.0, abs=0.1)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_noise_of_another_rate_is_resampled(speech: Path, tmp_path: Path, rate: int) -> None:
    sound = 0.1 * np.random.default_rng(2).standard_normal(2 * rate).astype(np.float32)
    noise = write_manifest(tmp_path / "n.jsonl.gz", [write_cut(tmp_path, "n", sound, None, rate)])
    mixer = NoiseMixer(noise, prob=1.0, snr=(7.0, 7.0), sample_rate=16000)
    for seed, cut in enumerate(cuts_of(speech)):
        clean = cut.load_audio()
        mixed = mixer(cut, generator_for(seed))
        added = mixed.load_audio() - clean
        ratio = 10 * math.log10(np.mean(clean**2) / np.mean(added**2))
        assert mixed.sampling_rate == 16000 and ratio == pytest.approx(7.0, abs=0.1)
        assert load_features(mixed, 16000).shape == load_features(cut, 16000).shape


def test_stored_features_of_noise_at_another_rate_are_refused(tmp_path: Path) -> None:
    noise = with_features(write_manifest(tmp_path / "n.jsonl.gz", make_cuts(tmp_path / "n", [1.0])))
    with pytest.raises(ValueError, match=r"noise cut000 .* of audio at 16000 Hz.*8000 Hz.*compute"):
        NoiseMixer(noise, prob=1.0, snr=(7.0, 7.0), sample_rate=8000)


def test_features_get_noise_at_the_ratio_asked_for(speech: Path, noise: Path) -> None:
    mixer = NoiseMixer(with_features(noise), prob=1.0, snr=(7.0, 7.0))
    for seed, cut in enumerate(cuts_of(with_features(speech))):
        clean = load_features(cut, 16000).exp()
        added = load_features(mixer(cut, generator_for(seed)), 16000).exp() - clean
        ratio = 10 * math.log10(float(clean.mean() / added.mean()))
        assert ratio == pytest.approx(7.0, abs=0.1)


@pytest.mark.parametrize("stored", [False, True], ids=["audio", "features"])
def test_a_mixed_cut_keeps_id_length_and_transcript(
    speech: Path, noise: Path, stored: bool
) -> None:
    if stored:
        speech, noise = with_features(speech), with_features(noise)
    mixer = NoiseMixer(noise, prob=1.0, snr=(0.0, 5.0))
    for cut in cuts_of(speech):
        mixed = mixer(cut, generator_for(3))
        assert (mixed.id, mixed.duration) == (cut.id, cut.duration)
        assert [s.text for s in mixed.supervisions] == [s.text for s in cut.supervisions]
        assert load_features(mixed, 16000).shape == load_features(cut, 16000).shape


def test_the_draw_hangs_on_the_generator_alone(speech: Path, noise: Path) -> None:
    mixer = NoiseMixer(noise, prob=1.0, snr=(0.0, 20.0))
    cut = cuts_of(speech)[0]
    first = mixer(cut, generator_for(1, 2)).load_audio()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert np.array_equal(mixer(cut, generator_for(1, 2)).load_audio(), first)
    assert not np.array_equal(mixer(cut, generator_for(1, 3)).load_audio(), first)


def test_the_probability_is_the_share_of_mixed_cuts(speech: Path, noise: Path) -> None:
    mixer = NoiseMixer(noise, prob=0.25, snr=(10.0, 20.0))
    cut = cuts_of(speech)[0]
    mixed = sum(mixer(cut, generator_for(seed)) is not cut for seed in range(400))
    assert 0.18 < mixed / 400 < 0.32


def test_stored_features_need_noise_with_stored_features(speech: Path, noise: Path) -> None:
    mixer = NoiseMixer(noise, prob=1.0, snr=(10.0, 20.0))
    cut = cuts_of(with_features(speech))[0]
    with pytest.raises(ValueError, match=r"noise\.jsonl\.gz.*compute_fbank"):
        mixer(cut, generator_for(0))


def test_audio_needs_noise_with_audio(speech: Path, noise: Path) -> None:
    mixer = NoiseMixer(with_features(noise), prob=1.0, snr=(10.0, 20.0))
    mixer.noises = [replace(n, recording=None) for n in mixer.noises]
    with pytest.raises(ValueError, match="has no audio"):
        mixer(cuts_of(speech)[0], generator_for(0))


def test_a_manifest_without_noise_is_refused(tmp_path: Path) -> None:
    empty = write_manifest(tmp_path / "short.jsonl.gz", make_cuts(tmp_path / "x", [0.4]))
    with pytest.raises(ValueError, match=r"short\.jsonl\.gz holds no noise"):
        NoiseMixer(empty, 1.0, (0.0, 1.0))
