"""local/to_shar.py: a step of data preparation."""

from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import config_for, make_cuts, make_tokenizer, with_features, write_manifest
from lhotse import CutSet
from preparation.steps import read

from local.compute_fbank import Settings, compute
from local.to_shar import to_shar
from zipformer.data.loader import TrainLoader


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    cuts = make_cuts(tmp_path / "a", [0.4, 0.5, 0.6, 0.7, 0.8])
    cuts[2] = cuts[2].truncate(offset=0.2, duration=0.3, preserve_id=True)
    return write_manifest(tmp_path / "m.jsonl.gz", cuts)


def same_cuts(manifest: Path, folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Compares ids, lengths and texts; returns the data of every cut, before and after."""
    before, after = read(manifest), list(CutSet.from_shar(in_dir=folder))
    described = [
        [(cut.id, cut.duration, cut.supervisions[0].text) for cut in cuts]
        for cuts in (before, after)
    ]
    assert described[0] == described[1]
    load = "load_features" if before[0].has_features else "load_audio"
    return [(getattr(a, load)(), getattr(b, load)()) for a, b in zip(before, after, strict=True)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_features_read_from_shards_are_those_of_the_manifest(
    manifest: Path, tmp_path: Path, jobs: int
) -> None:
    stored = with_features(manifest)
    assert to_shar(stored, tmp_path / "shar", 2, jobs) == {"features": "numpy"}
    assert len(list((tmp_path / "shar").glob("features.*.tar"))) == 3
    for before, after in same_cuts(stored, tmp_path / "shar"):
        np.testing.assert_array_equal(before, after)


def test_compressed_features_lose_next_to_nothing(manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("lilcom", reason="needs lilcom")
    wanted = Settings(manifest, tmp_path / "f.jsonl.gz", tmp_path / "feats", "lilcom_chunky")
    compute(wanted)
    assert to_shar(wanted.out, tmp_path / "shar") == {"features": "lilcom"}
    for before, after in same_cuts(wanted.out, tmp_path / "shar"):
        assert np.abs(before - after).max() <= 1 / 32


def test_cuts_without_features_give_shards_of_audio(manifest: Path, tmp_path: Path) -> None:
    assert to_shar(manifest, tmp_path / "shar", 2) == {"recording": "flac"}
    for before, after in same_cuts(manifest, tmp_path / "shar"):
        np.testing.assert_allclose(before, after, atol=2**-15)


def test_shards_need_no_other_file(manifest: Path, tmp_path: Path) -> None:
    stored = with_features(manifest)
    before = [cut.load_features() for cut in read(stored)]
    to_shar(stored, tmp_path / "shar")
    for path in [*(tmp_path / "a").iterdir(), *(tmp_path).rglob("*.npy")]:
        path.unlink()
    moved = (tmp_path / "shar").rename(tmp_path / "elsewhere")
    for features, cut in zip(before, CutSet.from_shar(in_dir=moved), strict=True):
        np.testing.assert_array_equal(features, cut.load_features())
        assert not cut.has_recording  # it would name a file of this disk


def test_training_reads_the_shards(manifest: Path, tmp_path: Path) -> None:
    stored = with_features(manifest)
    to_shar(stored, tmp_path / "shar", 2)
    tokenizer = make_tokenizer(tmp_path)
    seen = [
        sorted(i for b in TrainLoader(config_for(path), tokenizer, 1).epoch(1) for i in b.cut_ids)
        for path in (stored, tmp_path / "shar")
    ]
    assert seen[0] == seen[1] and len(seen[0]) == 5


def test_earlier_shards_are_replaced(manifest: Path, tmp_path: Path) -> None:
    to_shar(manifest, tmp_path / "shar", 1)
    to_shar(manifest, tmp_path / "shar", 5)
    assert len(list((tmp_path / "shar").iterdir())) == 2


def test_a_cut_that_cannot_be_read_is_named_and_earlier_shards_stay(
    manifest: Path, tmp_path: Path
) -> None:
    to_shar(manifest, tmp_path / "shar", 1)
    (tmp_path / "a" / "cut003.wav").unlink()
    with pytest.raises(ValueError, match=r"cut cut003: .*cut003\.wav cannot be read"):
        to_shar(manifest, tmp_path / "shar", 5)
    assert len(list((tmp_path / "shar").glob("cuts.*"))) == 5


def test_stored_features_that_are_damaged_are_named(manifest: Path, tmp_path: Path) -> None:
    stored = with_features(manifest)
    cut = read(stored)[2]
    file = Path(cut.features.storage_path) / cut.features.storage_key
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=rf"cut {cut.id}: {file} cannot be read"):
        to_shar(stored, tmp_path / "shar")


def test_cuts_with_and_without_features_do_not_mix(manifest: Path, tmp_path: Path) -> None:
    stored = read(with_features(manifest))
    write_manifest(tmp_path / "mixed.jsonl.gz", [stored[0], *read(manifest)[1:]])
    with pytest.raises(ValueError, match="cut cut001 has no stored features"):
        to_shar(tmp_path / "mixed.jsonl.gz", tmp_path / "shar")


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no cuts"):
        to_shar(write_manifest(tmp_path / "m.jsonl.gz", []), tmp_path / "shar")
