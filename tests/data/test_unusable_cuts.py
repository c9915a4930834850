"""Cuts that cannot be read, aligned or written in tokens are left out with a count, or named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data.small_corpus import (
    assert_equal,
    broken_corpus,
    config_for,
    make_cuts,
    write_cut,
    write_manifest,
)

from zipformer.config import DataConfig
from zipformer.data.loader import TrainLoader, eval_batches
from zipformer.tokens import Tokenizer


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_audio_is_left_out_and_counted(
    tmp_path: Path, tokenizer: Tokenizer, num_workers: int
) -> None:
    manifest = broken_corpus(tmp_path, good=9, broken=1)
    config = config_for(manifest, max_bad_share=0.1, num_workers=num_workers)
    loader = TrainLoader(config, tokenizer, seed=5)
    ids = [i for batch in loader.epoch(1) for i in batch.cut_ids]
    assert set(ids) == {f"cut{i:03d}" for i in range(9)}
    assert dict(loader.dropped) == {"unreadable": 1}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_much_unreadable_audio_stops_and_names_the_cut(
    tmp_path: Path, tokenizer: Tokenizer, num_workers: int
) -> None:
    manifest = broken_corpus(tmp_path, good=18, broken=2)
    config = config_for(manifest, max_bad_share=0.05, num_workers=num_workers)
    with pytest.raises(ValueError, match=r"2 of 20 cuts.*max_bad_share.*cut01[89].*wav"):
        list(TrainLoader(config, tokenizer, seed=5).epoch(1))


def test_missing_audio_counts_as_unreadable(tmp_path: Path, tokenizer: Tokenizer) -> None:
    cuts = make_cuts(tmp_path, [1.0] * 4)
    Path(cuts[2].recording.sources[0].source).unlink()
    config = config_for(write_manifest(tmp_path / "m.jsonl.gz", cuts), max_bad_share=0.5)
    loader = TrainLoader(config, tokenizer, seed=5)
    assert sum(len(b.cut_ids) for b in loader.epoch(1)) == 3
    assert dict(loader.dropped) == {"unreadable": 1}


def test_values_that_are_not_finite_count_as_unreadable(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    cuts = make_cuts(tmp_path, [1.0] * 3)
    samples = np.full(16000, np.nan, dtype=np.float32)
    cuts.append(write_cut(tmp_path, "nan", samples, "one"))
    config = config_for(write_manifest(tmp_path / "m.jsonl.gz", cuts), max_bad_share=0.5)
    loader = TrainLoader(config, tokenizer, seed=5)
    assert all(torch.isfinite(b.features).all() for b in loader.epoch(1))
    assert dict(loader.dropped) == {"unreadable": 1}


def test_a_batch_without_readable_cuts_keeps_its_place(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    """So that ranks stay in step and a resumed epoch counts the same batches."""
    manifest = broken_corpus(tmp_path, good=4, broken=2)
    config = config_for(manifest, max_bad_share=0.5, max_duration=1.0)  # one cut a batch
    seed = next(s for s in range(99) if first_is_good(config, tokenizer, s))
    batches = list(TrainLoader(config, tokenizer, seed).epoch(1))
    assert len(batches) == 6
    assert_equal(list(TrainLoader(config, tokenizer, seed).epoch(1, 3)), batches[3:])


def first_is_good(config: DataConfig, tokenizer: Tokenizer, seed: int) -> bool:
    """Whether no broken cut comes first or after another broken one."""
    sampler = TrainLoader(config, tokenizer, seed).sampler
    good = [step[0][0].id < "cut004" for step in sampler.epoch(1, lambda cut: True)]
    return good[0] and not any(not a and not b for a, b in zip(good, good[1:], strict=False))


def test_cuts_that_cannot_be_aligned_or_are_empty_are_dropped_with_a_count(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    cuts = make_cuts(tmp_path, [1.0] * 3)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(8000).astype(np.float32)
    cuts.append(write_cut(tmp_path, "much", noise, "one " * 30))
    cuts.append(write_cut(tmp_path, "tiny", noise[:100], "one"))
    loader = TrainLoader(config_for(write_manifest(tmp_path / "m.jsonl.gz", cuts)), tokenizer, 5)
    assert sum(len(b.cut_ids) for b in loader.epoch(1)) == 3
    assert dict(loader.dropped) == {"more tokens than output frames": 1, "empty or nearly so": 1}


def test_an_epoch_without_any_usable_cut_is_an_error(tmp_path: Path, tokenizer: Tokenizer) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl.gz", make_cuts(tmp_path, [0.05] * 3))
    with pytest.raises(ValueError, match=r"nothing to train on.*m\.jsonl\.gz.*min_seconds"):
        list(TrainLoader(config_for(manifest), tokenizer, 5).epoch(1))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_characters_outside_the_vocabulary_stop_training_and_name_the_cut(
    tmp_path: Path, tokenizer: Tokenizer, num_workers: int
) -> None:
    cuts = make_cuts(tmp_path, [1.0] * 2)
    cuts.append(write_cut(tmp_path, "loud", np.ones(16000, dtype=np.float32), "ONE"))
    config = config_for(write_manifest(tmp_path / "m.jsonl.gz", cuts), num_workers=num_workers)
    with pytest.raises(ValueError, match="cut loud: .*'ONE'"):
        list(TrainLoader(config, tokenizer, 5).epoch(1))


def test_several_channels_are_refused_in_training_and_evaluation(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    cut = write_cut(tmp_path, "stereo", np.zeros((16000, 2), dtype=np.float32), "one")
    config = config_for(write_manifest(tmp_path / "m.jsonl.gz", [cut]))
    message = r"cut stereo \(.*stereo\.wav\) has 2 channels"
    with pytest.raises(ValueError, match=message):
        list(TrainLoader(config, tokenizer, 5).epoch(1))
    with pytest.raises(ValueError, match=message):
        list(eval_batches(config.train[0], tokenizer, config))


def test_another_sample_rate_is_refused_in_training_and_evaluation(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    samples = np.zeros(8000, dtype=np.float32)
    cut = write_cut(tmp_path, "phone", samples, "one", rate=8000)
    config = config_for(write_manifest(tmp_path / "m.jsonl.gz", [cut]))
    message = r"phone\.wav.*8000 Hz.*16000 Hz.*resample in preparation"
    with pytest.raises(ValueError, match=message):
        list(TrainLoader(config, tokenizer, 5).epoch(1))
    with pytest.raises(ValueError, match=message):
        list(eval_batches(config.train[0], tokenizer, config))
