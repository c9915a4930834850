"""Batches of an epoch: the same for every number of workers, drawn anew for every epoch."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data.small_corpus import (
    LENGTHS,
    assert_equal,
    config_for,
    make_cuts,
    write_manifest,
)
from lhotse import CutSet

from zipformer.config import DataConfig
from zipformer.data import dataset as dataset_module
from zipformer.data.loader import TrainLoader, eval_batches
from zipformer.data.manifests import count_cuts, manifest_seconds, open_cuts
from zipformer.data.sampler import Share
from zipformer.tokens import Tokenizer


def test_the_number_of_workers_changes_nothing(config: DataConfig, tokenizer: Tokenizer) -> None:
    alone = list(TrainLoader(config, tokenizer, seed=5).epoch(1))
    helped = list(TrainLoader(replace(config, num_workers=2), tokenizer, seed=5).epoch(1))
    assert_equal(alone, helped)


def test_an_epoch_taken_up_again_goes_on_as_if_never_left(
    config: DataConfig, tokenizer: Tokenizer
) -> None:
    whole = list(TrainLoader(config, tokenizer, seed=5).epoch(2))
    assert len(whole) > 3
    for start in (1, 3, len(whole)):
        again = list(TrainLoader(config, tokenizer, seed=5).epoch(2, start_step=start))
        assert_equal(again, whole[start:])


def global_numpy_state() -> list[object]:
    return [np.asarray(part).tolist() for part in np.random.get_state()]


def test_global_random_state_is_neither_used_nor_moved(
    config: DataConfig, tokenizer: Tokenizer
) -> None:
    first = list(TrainLoader(config, tokenizer, seed=5).epoch(1))
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        states = random.getstate(), global_numpy_state(), torch.get_rng_state()
        assert_equal(list(TrainLoader(config, tokenizer, seed=5).epoch(1)), first)
        assert states[0] == random.getstate()
        assert states[1] == global_numpy_state()
        assert torch.equal(states[2], torch.get_rng_state())


def test_the_number_of_threads_changes_nothing(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Long cuts, whose sums torch would share out among threads."""
    cuts = make_cuts(tmp_path / "wav", [20.0, 25.0])
    config = config_for(write_manifest(tmp_path / "long.jsonl.gz", cuts), max_duration=60.0)
    threads = torch.get_num_threads()
    epochs = []
    for count in (1, 4):
        torch.set_num_threads(count)
        epochs.append(list(TrainLoader(config, tokenizer, seed=5).epoch(1)))
        assert torch.get_num_threads() == count
    torch.set_num_threads(threads)
    assert_equal(*epochs)


def test_an_abandoned_epoch_leaves_no_trace(config: DataConfig, tokenizer: Tokenizer) -> None:
    loader = TrainLoader(config, tokenizer, seed=5)
    next(loader.epoch(1))
    assert_equal(list(loader.epoch(1)), list(TrainLoader(config, tokenizer, seed=5).epoch(1)))


def test_epochs_and_seeds_differ_in_order_and_in_augmentation(
    config: DataConfig, tokenizer: Tokenizer
) -> None:
    epochs = [
        list(TrainLoader(config, tokenizer, seed).epoch(epoch))
        for seed, epoch in ((5, 1), (5, 2), (6, 1))
    ]
    orders = {tuple(tuple(b.cut_ids) for b in batches) for batches in epochs}
    assert len(orders) == 3
    sums = {float(b.features.sum()) for batches in epochs for b in batches if "cut000" in b.cut_ids}
    assert len(sums) == 3


def test_every_cut_comes_once_an_epoch(config: DataConfig, tokenizer: Tokenizer) -> None:
    loader = TrainLoader(config, tokenizer, seed=5)
    batches = list(loader.epoch(1))
    assert Counter(i for b in batches for i in b.cut_ids) == Counter(
        f"cut{i:03d}" for i in range(len(LENGTHS))
    )
    assert not loader.dropped


def test_skipped_batches_read_nothing(
    plain: DataConfig, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def spy(cut, sample_rate):  # type: ignore[no-untyped-def]
        read.append(cut.id)
        return torch.zeros(50, 80)

    whole = list(TrainLoader(plain, tokenizer, seed=5).epoch(1))
    monkeypatch.setattr(dataset_module, "load_features", spy)
    list(TrainLoader(plain, tokenizer, seed=5).epoch(1, start_step=len(whole) - 1))
    assert read == whole[-1].cut_ids


def test_batches_hold_what_the_cuts_hold(plain: DataConfig, tokenizer: Tokenizer) -> None:
    cuts = {c.id: c for c in open_cuts(plain.train[0])}
    for batch in TrainLoader(plain, tokenizer, seed=5).epoch(1):
        assert batch.features.dtype == torch.float32
        assert batch.features.shape == (len(batch.cut_ids), int(batch.feature_lens.max()), 80)
        assert batch.seconds == pytest.approx(float(batch.feature_lens.sum()) / 100)
        for row, cut_id in enumerate(batch.cut_ids):
            stored = torch.from_numpy(cuts[cut_id].load_features())
            assert torch.equal(batch.features[row, : len(stored)], stored)
            assert (batch.features[row, len(stored) :] == 0).all()
            assert batch.texts[row] == cuts[cut_id].supervisions[0].text
            assert tokenizer.decode(batch.tokens[row]) == batch.texts[row]


def test_batches_stay_within_the_duration_but_for_their_last_cut(
    plain: DataConfig, tokenizer: Tokenizer
) -> None:
    batches = list(TrainLoader(plain, tokenizer, seed=5).epoch(1))
    for batch in batches:
        assert batch.seconds <= plain.max_duration + max(LENGTHS)
    assert max(len(b.cut_ids) for b in batches) > 1


@pytest.mark.parametrize("batches_per_step", [2, 3, 5, 30])
def test_every_step_has_all_its_batches_and_the_epoch_every_cut(
    plain: DataConfig, tokenizer: Tokenizer, batches_per_step: int
) -> None:
    ranks = [
        list(TrainLoader(plain, tokenizer, 5, Share(rank, batches_per_step)).epoch(1))
        for rank in range(batches_per_step)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    ids = [i for batches in ranks for b in batches for i in b.cut_ids]
    assert set(ids) == {f"cut{i:03d}" for i in range(len(LENGTHS))}
    if batches_per_step < len(LENGTHS):
        assert len(ids) == len(LENGTHS)


def test_two_processes_see_what_one_that_accumulates_two_batches_sees(
    config: DataConfig, tokenizer: Tokenizer
) -> None:
    alone = list(TrainLoader(config, tokenizer, 5, Share(accumulate=2)).epoch(1))
    pair = [list(TrainLoader(config, tokenizer, 5, Share(rank, 2)).epoch(1)) for rank in (0, 1)]
    assert_equal(alone, [batch for step in zip(*pair, strict=True) for batch in step])
    resumed = TrainLoader(config, tokenizer, 5, Share(accumulate=2)).epoch(1, start_step=2)
    assert_equal(list(resumed), alone[4:])


def test_the_batches_of_a_step_have_similar_durations(tmp_path: Path, tokenizer: Tokenizer) -> None:
    cuts = make_cuts(tmp_path / "wav", [0.6 + 0.1 * i for i in range(32)])
    config = config_for(write_manifest(tmp_path / "cuts.jsonl.gz", cuts), max_duration=3.0)
    loader = TrainLoader(replace(config, num_buckets=4), tokenizer, 5, Share(accumulate=3))
    longest = [batch.feature_lens.max().item() for batch in loader.epoch(1)]
    steps = [longest[i : i + 3] for i in range(0, len(longest) - 3, 3)]
    spreads = [max(step) - min(step) for step in steps]
    assert sum(spreads) / len(spreads) < 0.5 * (max(longest) - min(longest))


def test_the_order_of_the_buckets_differs_between_epochs(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    cuts = make_cuts(tmp_path / "wav", [1.0, 5.0] * 12)
    config = config_for(write_manifest(tmp_path / "cuts.jsonl.gz", cuts), max_duration=5.0)
    loader = TrainLoader(replace(config, num_buckets=2), tokenizer, 5)
    orders = [[int(b.feature_lens.max()) > 250 for b in loader.epoch(e)] for e in (1, 2, 3)]
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_the_same_batch_is_augmented_anew_in_every_epoch(
    corpus: Path, tokenizer: Tokenizer
) -> None:
    one = write_manifest(corpus / "same.jsonl.gz", make_cuts(corpus / "same_wav", [3.0]))
    loader = TrainLoader(config_for(one), tokenizer, seed=5)
    first, second = (next(loader.epoch(epoch)).features for epoch in (1, 2))
    assert not torch.equal(first, second)


def test_ranks_augment_differently(corpus: Path, tokenizer: Tokenizer) -> None:
    one = write_manifest(corpus / "one.jsonl.gz", make_cuts(corpus / "one_wav", [3.0]))
    config = config_for(one)
    pair = [next(TrainLoader(config, tokenizer, 5, Share(rank, 2)).epoch(1)) for rank in (0, 1)]
    assert not torch.equal(pair[0].features, pair[1].features)


def test_several_manifests_are_mixed(corpus: Path, tokenizer: Tokenizer) -> None:
    first = corpus / "cuts.jsonl.gz"
    others = make_cuts(corpus / "other_wav", [1.0] * 6, seed=3)
    for cut in others:
        cut.id = f"other-{cut.id}"
    second = write_manifest(corpus / "others.jsonl.gz", others)
    batches = list(TrainLoader(config_for(first, second), tokenizer, seed=5).epoch(1))
    ids = [i for b in batches for i in b.cut_ids]
    assert len(ids) == len(set(ids)) == len(LENGTHS) + 6
    halves = ids[: len(ids) // 2], ids[len(ids) // 2 :]
    assert all(any(i.startswith("other-") for i in half) for half in halves)


def test_a_folder_of_shards_gives_what_its_manifest_gives(
    plain: DataConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    cuts = open_cuts(plain.train[0]).map(lambda cut: cut.drop_recording())
    CutSet.from_cuts(cuts).to_shar(tmp_path, fields={"features": "numpy"}, shard_size=5)
    sharded = replace(plain, train=(tmp_path,))
    assert count_cuts(tmp_path) == len(LENGTHS)
    assert manifest_seconds(tmp_path) == pytest.approx(manifest_seconds(plain.train[0]))
    for workers in (0, 1):
        config = replace(sharded, num_workers=workers)
        assert_equal(*(list(TrainLoader(c, tokenizer, 5).epoch(1)) for c in (plain, config)))


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cuts\.\*.*to_shar"):
        open_cuts(tmp_path)


def test_a_buffer_smaller_than_the_manifest_loses_nothing(
    plain: DataConfig, tokenizer: Tokenizer
) -> None:
    batches = list(TrainLoader(replace(plain, bucket_buffer=4), tokenizer, 5).epoch(1))
    assert sorted(i for b in batches for i in b.cut_ids) == sorted(
        f"cut{i:03d}" for i in range(len(LENGTHS))
    )


def test_speed_changes_the_length_by_a_factor_drawn_per_cut(
    corpus: Path, tokenizer: Tokenizer
) -> None:
    config = config_for(corpus / "cuts.jsonl.gz", speed_factors=(0.9, 1.0, 1.1))
    ratios = set()
    for epoch in range(4):
        for batch in TrainLoader(config, tokenizer, 5).epoch(epoch):
            for cut_id, frames in zip(batch.cut_ids, batch.feature_lens.tolist(), strict=True):
                ratios.add(round(LENGTHS[int(cut_id[3:])] * 100 / frames, 1))
    assert ratios == {0.9, 1.0, 1.1}


def test_a_missing_manifest_says_who_makes_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    config = config_for(tmp_path / "nowhere.jsonl.gz")
    message = r"nowhere\.jsonl\.gz not found.*prepare\.sh"
    with pytest.raises(FileNotFoundError, match=message):
        TrainLoader(config, tokenizer, 5)
    with pytest.raises(FileNotFoundError, match=message):
        list(eval_batches(config.train[0], tokenizer, config))


def test_training_without_manifests_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=r"data\.train"):
        TrainLoader(config_for(), tokenizer, 5)
