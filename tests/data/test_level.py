"""The level of a recording, changed in its features."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from data.small_corpus import make_cuts, write_manifest
from training.tiny_corpus import write_tokenizer

from zipformer.config import DataConfig, RunConfig, SpecAugmentConfig
from zipformer.data.dataset import EvaluationDataset, Request, TrainingDataset
from zipformer.data.features import extract
from zipformer.data.level import FLOOR, change_level, draw_level
from zipformer.data.manifests import open_cuts
from zipformer.data.seeds import generator_for
from zipformer.tokens import open_tokenizer


@pytest.mark.parametrize("gain", [0.001, 0.03, 1.0, 7.0])
def test_features_of_another_level_are_those_of_louder_audio(gain: float) -> None:
    """Also where soft sounds vanish below the floor."""
    samples = 0.1 * torch.randn(16000) * torch.linspace(0.05, 1.0, 16000)
    measured, wanted = extract(samples), extract(gain * samples)
    found = change_level(measured, gain)
    loud = measured > FLOOR
    assert loud.float().mean() > 0.99
    torch.testing.assert_close(found[loud], wanted[loud], atol=2e-3, rtol=0.0)
    if gain < 0.01:
        assert 0.0 < (found == FLOOR).float().mean() < 1.0


def test_gains_spread_evenly_over_their_logarithm() -> None:
    gains = 0.01, 4.0
    shifts = torch.stack(
        [draw_level(torch.zeros(1), gains, 1.0, generator_for(seed)) for seed in range(2000)]
    )
    low, high = (2 * math.log(gain) for gain in gains)
    assert low <= shifts.min() < low + 0.1 and high - 0.1 < shifts.max() <= high
    middle = (shifts < (low + high) / 2).float().mean()
    assert middle == pytest.approx(0.5, abs=0.05)


def test_without_a_range_nothing_is_drawn() -> None:
    features, generator = torch.randn(5, 80), generator_for(0)
    before = generator.get_state()
    assert draw_level(features, (1.0, 1.0), 0.5, generator) is features
    assert torch.equal(generator.get_state(), before)


def test_a_share_of_the_utterances_keeps_its_level() -> None:
    features, gains = torch.zeros(1), (0.1, 0.1)
    drawn = [draw_level(features, gains, 0.3, generator_for(seed)) for seed in range(1000)]
    changed = sum(1 for level in drawn if level is not features)
    assert changed == pytest.approx(300, abs=45)
    assert all(float(level) == pytest.approx(2 * math.log(0.1)) for level in drawn if level.any())


def test_training_hears_other_levels_and_evaluation_does_not(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "bpe.model")
    tokenizer = open_tokenizer(tmp_path / "bpe.model")
    manifest = write_manifest(tmp_path / "cuts.jsonl.gz", make_cuts(tmp_path / "a", [1.0]))
    request = Request(list(open_cuts(manifest)), seeds=(1, 2))
    config = DataConfig(volume=(0.5, 0.5), spec_augment=SpecAugmentConfig(prob=0.0))
    plain, softer = (
        kind(tokenizer, config)[request].batch.features
        for kind in (EvaluationDataset, TrainingDataset)
    )
    assert torch.equal(softer, change_level(plain, 0.5))


@pytest.mark.parametrize("volume", [(2.0, 0.5), (-1.0, 1.0), (0.0, 1.0), (1.0, math.inf)])
def test_a_range_that_is_empty_or_negative_is_refused(volume: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"data.volume = .*the smaller one first"):
        RunConfig(data=DataConfig(volume=volume))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="data.volume_prob = .*from 0 to 1"):
        RunConfig(data=DataConfig(volume_prob=share))
