"""A run on corpora with weights: said at its start, resumed exactly, changed weights told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from training.runs import records, same, stripped
from training.tiny_corpus import tiny_asr_config, write_corpus, write_cuts

from zipformer.checkpoint.files import epoch_path
from zipformer.config import RunConfig, WeightedManifest
from zipformer.training.loop import fit


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_corpus(tmp_path_factory.mktemp("corpus"))
    write_cuts(folder, "other", count=5, seed=3)
    return folder


def config(corpus: Path, exp_dir: Path, weight: float, **train: int) -> RunConfig:
    found = tiny_asr_config(corpus, exp_dir, **train)
    other = WeightedManifest(corpus / "other.jsonl.gz", weight)
    return replace(found, data=replace(found.data, train=(*found.data.train, other)))


def test_a_run_resumed_in_the_middle_of_an_epoch_equals_a_straight_one(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(config(corpus, tmp_path / "straight", 1.5))
    steps = records(tmp_path / "straight")[-1]["step"]
    for stop_at in (2, steps - 2):  # in the first epoch, and in the second, which has other cuts
        fit(config(corpus, tmp_path / f"{stop_at}", 1.5, max_steps=stop_at))
        fit(config(corpus, tmp_path / f"{stop_at}", 1.5))
        ours, theirs = (epoch_path(tmp_path / name, 2) for name in (f"{stop_at}", "straight"))
        assert same(stripped(ours)["model"], stripped(theirs)["model"])
    said = [r.message for r in caplog.records if r.message.startswith("training data: ")]
    assert "14 cuts, weight 1: 65.1 % of the cuts of an epoch" in said[0]
    assert "5 cuts, weight 1.5: 34.9 % of the cuts of an epoch" in said[1]
    assert not [r for r in caplog.records if "have changed" in r.message]


def test_other_weights_on_resume_are_told(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(config(corpus, tmp_path, 1.5, max_steps=2))
    fit(config(corpus, tmp_path, 2.0, max_steps=3))
    warned = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert any("'weight': 1.5" in line and "'weight': 2.0" in line for line in warned)
    assert any("weighted anew" in line and "some cuts come twice" in line for line in warned)
