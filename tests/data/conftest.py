"""A small corpus, and ways to read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from data.small_corpus import (
    LENGTHS,
    config_for,
    make_cuts,
    make_tokenizer,
    with_features,
    write_manifest,
)

from zipformer.config import DataConfig
from zipformer.tokens import Tokenizer, open_tokenizer


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
    return open_tokenizer(corpus / "bpe.model")


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
