"""Several corpora at once: each cut as often as its weight says, and what the loader promises."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from data.small_corpus import assert_equal, config_for, make_cuts, with_features, write_manifest
from lhotse import CutSet

from zipformer.checkpoint.fingerprint import training_data_fingerprint
from zipformer.config import DataConfig, WeightedManifest
from zipformer.data.loader import TrainLoader
from zipformer.data.manifests import open_cuts
from zipformer.data.mixture import Mixture
from zipformer.data.sampler import Share
from zipformer.data.seeds import derive_seed
from zipformer.tokens import Tokenizer

SIZES = {"a": 12, "b": 5, "c": 7}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {name: corpus_of(folder, name, size) for name, size in SIZES.items()}


def corpus_of(folder: Path, name: str, size: int) -> Path:
    cuts = make_cuts(folder / name, [0.8 + 0.1 * (i % 7) for i in range(size)], seed=size)
    for i, cut in enumerate(cuts):
        cut.id = f"{name}{i}"
    return with_features(write_manifest(folder / f"{name}.jsonl.gz", cuts))


def weighted(sets: dict[str, Path], **weights: float) -> DataConfig:
    entries = [WeightedManifest(sets[name], weight) for name, weight in weights.items()]
    return replace(config_for(), train=tuple(entries))


def drawn(config: DataConfig, epoch: int) -> list[str]:
    return [cut.id for cut in Mixture(config.corpora).cuts(epoch, seed=3)]


def of_each(ids: Sequence[str]) -> Counter[str]:
    return Counter(name[0] for name in ids)


def test_lists_of_paths_give_the_batches_that_they_gave(
    sets: dict[str, Path], tokenizer: Tokenizer
) -> None:
    """The cuts come in the order in which lhotse interleaves manifests by their sizes."""
    paths = list(sets.values())
    for epoch in (1, 2, 5):
        seed = derive_seed(7, epoch)
        before = CutSet.mux(*map(open_cuts, paths), weights=list(SIZES.values()), seed=seed % 2**32)
        now = Mixture(config_for(*paths).corpora).cuts(epoch, seed)
        assert [cut.id for cut in now] == [cut.id for cut in before]
    plain, ones = config_for(*paths), weighted(sets, a=1.0, b=1.0, c=1.0)
    assert_equal(*(list(TrainLoader(c, tokenizer, 5).epoch(2)) for c in (plain, ones)))


def test_each_cut_comes_as_often_as_its_weight_says(sets: dict[str, Path]) -> None:
    config = weighted(sets, a=1.0, b=3.0, c=2.0)
    counts = Counter(drawn(config, epoch=4))
    assert {name: counts.pop(f"{name}{i}") for name in "abc" for i in range(SIZES[name])} == {
        "a": 1,
        "b": 3,
        "c": 2,
    }
    assert not counts


@pytest.mark.parametrize(("weight", "epochs"), [(0.5, 2), (2.5, 2), (0.3, 10), (0.1, 10)])
def test_epochs_together_have_every_cut_equally_often(
    sets: dict[str, Path], weight: float, epochs: int
) -> None:
    config = weighted(sets, a=1.0, c=weight)
    of_epochs = [drawn(config, epoch) for epoch in range(1, epochs + 1)]
    for ids in of_epochs:
        assert of_each(ids)["a"] == 12 and abs(of_each(ids)["c"] - 7 * weight) < 1
    counts = Counter(name for ids in of_epochs for name in ids if name[0] == "c")
    assert set(counts.values()) == {round(weight * epochs)} and len(counts) == 7


def test_corpora_are_spread_over_the_epoch(sets: dict[str, Path]) -> None:
    ids = drawn(weighted(sets, a=5.0, b=12.0), epoch=1)
    assert len(ids) == 120
    for start in range(0, 120, 30):
        assert 7 <= of_each(ids[start : start + 30])["b"] <= 23


def test_a_mixture_keeps_what_the_loader_promises(
    sets: dict[str, Path], tokenizer: Tokenizer
) -> None:
    """Workers, processes, a resume and other epochs before change nothing; seeds and epochs do."""
    config = weighted(sets, a=0.5, b=2.5, c=1.0)
    whole = list(TrainLoader(config, tokenizer, 5, Share(accumulate=2)).epoch(3))
    assert len(whole) >= 6 and len(whole) % 2 == 0
    helped = TrainLoader(replace(config, num_workers=2), tokenizer, 5, Share(accumulate=2))
    list(helped.epoch(1))
    assert_equal(list(helped.epoch(3)), whole)
    pair = [list(TrainLoader(config, tokenizer, 5, Share(rank, 2)).epoch(3)) for rank in (0, 1)]
    assert_equal([batch for step in zip(*pair, strict=True) for batch in step], whole)
    resumed = TrainLoader(config, tokenizer, 5, Share(accumulate=2)).epoch(3, start_step=2)
    assert_equal(list(resumed), whole[4:])
    for seed, epoch in ((6, 3), (5, 4)):
        other = TrainLoader(config, tokenizer, seed, Share(accumulate=2)).epoch(epoch)
        assert [b.cut_ids for b in other] != [b.cut_ids for b in whole]


def test_a_folder_of_shards_takes_a_weight(
    sets: dict[str, Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    cuts = open_cuts(sets["b"]).map(lambda cut: cut.drop_recording())
    CutSet.from_cuts(cuts).to_shar(tmp_path, fields={"features": "numpy"}, shard_size=2)
    one = weighted(sets, a=1.0, b=2.5)
    other = weighted({**sets, "b": tmp_path}, a=1.0, b=2.5)
    for epoch in (1, 2):
        assert_equal(*(list(TrainLoader(c, tokenizer, 5).epoch(epoch)) for c in (one, other)))


def test_shares_are_told(sets: dict[str, Path]) -> None:
    a, b = Mixture(weighted(sets, a=1.0, b=2.4).corpora).describe()
    assert a.startswith(f"{sets['a']}: 12 cuts, weight 1: 50.0 % of the cuts of an epoch, ")
    assert "5 cuts, weight 2.4: 50.0 % of the cuts" in b
    audio = [float(re.findall(r"([\d.]+) % of its audio", line)[0]) for line in (a, b)]
    assert sum(audio) == pytest.approx(100.0, abs=0.1) and audio[0] > audio[1]


def test_an_empty_manifest_takes_no_weight_and_does_no_harm_without(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    sets = {**sets, "e": write_manifest(tmp_path / "e.jsonl.gz", [])}
    assert sorted(drawn(weighted(sets, a=1.0, b=1.0, e=1.0), 1)) == sorted(
        drawn(weighted(sets, a=1.0, b=1.0), 1)
    )
    with pytest.raises(ValueError, match=r"^data\.train: .*e\.jsonl\.gz has weight 2 and holds no"):
        Mixture(weighted(sets, a=1.0, e=2.0).corpora)


def test_weights_that_leave_no_cut_are_refused(sets: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"^data\.train: the weights of .* are so small"):
        Mixture(weighted(sets, a=0.01, b=0.1).corpora)


def test_other_weights_are_other_training_data(sets: dict[str, Path]) -> None:
    """But weight 1 is what a path alone is, and the order of the list is nothing."""
    plain = config_for(sets["a"], sets["b"])
    found = [
        training_data_fingerprint(c)
        for c in (plain, weighted(sets, a=1.0, b=2.0), weighted(sets, a=2.0, b=1.0))
    ]
    assert len(set(found)) == 3 and None not in found
    assert training_data_fingerprint(weighted(sets, b=1.0, a=1.0)) == found[0]
    assert training_data_fingerprint(weighted(sets, b=2.0, a=1.0)) == found[1]
