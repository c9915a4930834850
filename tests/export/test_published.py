"""Back again: a model that came from others, or from us, has the names that their programs load."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from released.official import KINDS, OFFICIAL, weights
from tiny_run import tiny_run
from trained_digits import trained

from zipformer.checkpoint.adoption import adopt
from zipformer.checkpoint.icefall import load_icefall
from zipformer.checkpoint.loading import load_model
from zipformer.export.published import export_published
from zipformer.model import AsrModel
from zipformer.released.names import published_names
from zipformer.released.source import read_released


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_is_the_same_file(tmp_path: Path, kind: str) -> None:
    adopt(read_released(str(OFFICIAL / kind)), tmp_path / "run")
    path = export_published(load_model(tmp_path / "run"), tmp_path / "out")
    found, theirs = torch.load(path, weights_only=True)["model"], weights(kind)
    assert found.keys() == theirs.keys()
    dead = {name for name in theirs if re.search(r"layers\.\d+\.bypass_scale$", name)}
    assert len(dead) == sum(".bypass.bypass_scale" in name for name in theirs)
    for name, value in theirs.items():
        assert found[name].shape == value.shape and found[name].dtype == torch.float32
        assert name in dead or torch.equal(found[name], value), name
    assert (path.parent / "tokens.txt").read_text() == (OFFICIAL / kind / "tokens.txt").read_text()


def test_ours_is_adopted_with_all_its_heads(tmp_path: Path) -> None:
    run = tiny_run(tmp_path)
    encoder = replace(run.config.encoder, feature_mean=0.0, feature_std=1.0)
    model = AsrModel(encoder, run.tokenizer.vocab_size, run.config.model)
    run = replace(run, model=model.eval(), config=replace(run.config, encoder=encoder))
    path = export_published(run, tmp_path / "out")
    again = load_icefall(path, AsrModel(encoder, run.tokenizer.vocab_size, run.config.model))
    ours, theirs = model.state_dict(), again.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    released = read_released(str(tmp_path / "out"))
    assert released.architecture.encoder.dims == encoder.dims
    assert released.tokenizer.file_name == "bpe.model"


def test_stacks_at_a_lower_rate_are_wrapped_once_more() -> None:
    names = published_names(
        ["encoder.stacks.0.layers.1.norm.bias", "encoder.stacks.1.layers.0.norm.bias"]
        + ["encoder.stacks.1.downsample.bias", "attention_decoder.embed.weight"]
    )
    assert list(names.values()) == [
        "encoder.encoders.0.layers.1.norm.bias",
        "encoder.encoders.1.encoder.layers.0.norm.bias",
        "encoder.encoders.1.downsample.bias",
        "attention_decoder.decoder.embed.weight",
    ]


def test_what_published_programs_do_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no encoder\.feature_mean = -10\.0 \(they have 0\.0\)"):
        export_published(trained(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
