import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data.small_corpus import (
    config_for,
    make_cuts,
    make_tokenizer,
    with_features,
    write_cut,
    write_manifest,
)
from lhotse import CutSet

from zipformer.config import DataConfig
from zipformer.data import dataset as dataset_module
from zipformer.data.batch import Batch
from zipformer.data.features import extract
from zipformer.data.loader import TrainLoader, eval_batches
from zipformer.data.manifests import count_cuts, manifest_seconds, open_cuts
from zipformer.data.sampler import Share
from zipformer.data.tokenizer import Tokenizer

LENGTHS = [0.8, 1.0, 1.3, 0.9, 2.2, 1.7, 1.1, 2.9, 1.5, 0.7, 2.0, 1.2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve cuts as audio (``cuts``) and with features (``fbank_cuts``), noise, and tokens."""
    folder = tmp_path_factory.mktemp("corpus")
    with_features(write_manifest(folder / "cuts.jsonl.gz", make_cuts(folder / "wav", LENGTHS)))
    noise = make_cuts(folder / "noise_wav", [1.5, 4.0], seed=1)
    with_features(write_manifest(folder / "noise.jsonl.gz", noise))
    make_tokenizer(folder)
    return folder


@pytest.fixture
def tokenizer(corpus: Path) -> Tokenizer:
    return Tokenizer(corpus / "bpe.model")


@pytest.fixture(params=["features", "audio"])
def config(corpus: Path, request: pytest.FixtureRequest) -> DataConfig:
    """Everything that is random is on."""
    if request.param == "features":
        manifest, noise = corpus / "fbank_cuts.jsonl.gz", corpus / "fbank_noise.jsonl.gz"
        return config_for(manifest, noise=noise)
    audio = config_for(corpus / "cuts.jsonl.gz", noise=corpus / "noise.jsonl.gz")
    return replace(audio, speed_factors=(0.9, 1.0, 1.1))


@pytest.fixture
def plain(corpus: Path) -> DataConfig:
    """Stored features and no augmentation."""
    config = config_for(corpus / "fbank_cuts.jsonl.gz")
    return replace(config, spec_augment=replace(config.spec_augment, prob=0.0))


def assert_equal(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    """Bit for bit."""
    assert [b.cut_ids for b in first] == [b.cut_ids for b in second]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.features, b.features)
        assert torch.equal(a.feature_lens, b.feature_lens)
        assert (a.tokens, a.texts, a.seconds) == (b.tokens, b.texts, b.seconds)


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


def broken_corpus(folder: Path, good: int, broken: int) -> Path:
    cuts = make_cuts(folder, [1.0] * (good + broken))
    for cut in cuts[good:]:
        Path(cut.recording.sources[0].source).write_bytes(b"RIFF no audio at all")
    return write_manifest(folder / "broken.jsonl.gz", cuts)


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


def test_evaluation_takes_every_cut_as_it_is(corpus: Path, tokenizer: Tokenizer) -> None:
    cuts = make_cuts(corpus / "eval_wav", [1.0, 2.5, 0.3])
    cuts.append(write_cut(corpus, "much", np.ones(3200, dtype=np.float32), "one " * 30))
    cuts.append(write_cut(corpus, "tiny", np.ones(90, dtype=np.float32), "one"))
    cuts.append(write_cut(corpus, "silent", np.zeros(4800, dtype=np.float32), None))
    cuts.append(write_cut(corpus, "odd", np.ones(4800, dtype=np.float32), "Zwölf one"))
    manifest = write_manifest(corpus / "eval.jsonl.gz", cuts)
    batches = list(eval_batches(manifest, tokenizer, config_for()))
    texts = dict(pair for b in batches for pair in zip(b.cut_ids, b.texts, strict=True))
    assert len(texts) == count_cuts(manifest) == 7
    assert texts["odd"] == "Zwölf one"
    assert texts["silent"] == ""
    for batch in batches:
        for row, cut_id in enumerate(batch.cut_ids):
            samples = next(c for c in cuts if c.id == cut_id).load_audio()
            features = batch.features[row, : int(batch.feature_lens[row])]
            assert torch.equal(features, extract(samples, 16000))


def test_evaluation_batches_do_not_hang_on_workers_or_random_state(
    corpus: Path, tokenizer: Tokenizer
) -> None:
    manifest = corpus / "cuts.jsonl.gz"
    first = list(eval_batches(manifest, tokenizer, config_for()))
    torch.manual_seed(1)
    assert_equal(list(eval_batches(manifest, tokenizer, config_for(num_workers=2))), first)
    lengths = [n for b in first for n in b.feature_lens.tolist()]
    assert lengths == sorted(lengths, reverse=True)


def test_an_evaluation_limit_takes_the_first_cuts_of_the_manifest(
    corpus: Path, tokenizer: Tokenizer
) -> None:
    batches = eval_batches(corpus / "cuts.jsonl.gz", tokenizer, config_for(), 2.5, limit=5)
    ids = [b.cut_ids for b in batches]
    assert sorted(sum(ids, [])) == [f"cut{i:03d}" for i in range(5)]
    assert len(ids) > 2


def test_evaluation_stops_at_unreadable_audio_and_names_it(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    manifest = broken_corpus(tmp_path, good=3, broken=1)
    with pytest.raises(ValueError, match=r"cut cut003: .*cut003\.wav cannot be read"):
        list(eval_batches(manifest, tokenizer, config_for()))
