"""local/lazy_cuts.py: a step of data preparation."""

from pathlib import Path

import numpy as np
import pytest
from data.small_corpus import config_for, make_cuts, make_tokenizer, write_cut, write_manifest
from preparation.steps import read

from local.lazy_cuts import copy
from zipformer.data.loader import TrainLoader


def test_cuts_keep_audio_and_text_in_a_seeded_order(tmp_path: Path) -> None:
    cuts = make_cuts(tmp_path / "a", [0.3] * 9)
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    orders = []
    for seed in (None, 1, 1):
        assert copy(manifest, tmp_path / "out.jsonl.gz", shuffle_seed=seed) == 9
        made = read(tmp_path / "out.jsonl.gz")
        orders.append([cut.id for cut in made])
        assert not any(cut.has_features for cut in made)
        texts = {cut.id: cut.supervisions[0].text for cut in made}
        assert texts == {cut.id: cut.supervisions[0].text for cut in cuts}
    assert orders[0] == sorted(orders[0]) != orders[1] == orders[2]


def test_training_computes_features_at_every_speed(tmp_path: Path) -> None:
    phone = write_cut(tmp_path, "phone", 0.1 * np.ones(8000, dtype=np.float32), "one", rate=8000)
    cuts = [*make_cuts(tmp_path / "a", [1.0] * 7), phone]
    manifest = write_manifest(tmp_path / "m.jsonl.gz", cuts)
    copy(manifest, tmp_path / "out.jsonl.gz", shuffle_seed=1)
    config = config_for(tmp_path / "out.jsonl.gz", speed_factors=(0.8, 1.0, 1.25))
    loader = TrainLoader(config, make_tokenizer(tmp_path), seed=1)
    lengths = {n for batch in loader.epoch(1) for n in batch.feature_lens.tolist()}
    assert lengths == {80, 100, 125}
    assert not loader.dropped


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.jsonl\.gz not found"):
        copy(tmp_path / "no.jsonl.gz", tmp_path / "out.jsonl.gz")
