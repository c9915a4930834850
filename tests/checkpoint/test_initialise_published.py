"""A new run starts from a published checkpoint, with its tokens or without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from checkpoint.sources import (
    check_complete,
    different,
    fresh,
    write_published,
    write_tokens,
)
from published_names import published_name
from training.tiny_corpus import ENCODER

from zipformer.checkpoint.init_source import VOCABULARY
from zipformer.checkpoint.initialise import initialise
from zipformer.tokens import Tokenizer


@pytest.mark.parametrize("where", ["exp/tokens.txt", "data/lang_bpe_500/tokens.txt", "bpe"])
def test_a_published_checkpoint_is_taken_over_with_its_tokens(
    tmp_path: Path, tokenizer: Tokenizer, where: str
) -> None:
    write_published(
        tmp_path / "exp" / "pretrained.pt",
        fresh(1),
        **{"attention_decoder.decoder.x": torch.ones(2)},
        **{"encoder.encoders.0.layers.0.bypass_scale": torch.ones(16)},
    )
    if where == "bpe":
        (tmp_path / "data" / "lang_bpe_500").mkdir(parents=True)
        shutil.copyfile(tokenizer.path, tmp_path / "data" / "lang_bpe_500" / "bpe.model")
    else:
        write_tokens(tmp_path / where, tokenizer.tokens)
    for path in (tmp_path / "exp" / "pretrained.pt", tmp_path / "exp"):
        model = fresh()
        report = initialise(model, path, tokenizer)
        assert not different(model, fresh(1))
        assert report.dropped == ("attention_decoder.x",)
        assert "its tokens are those of" in str(report)
        check_complete(report, model)


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (None, "there is no tokens.txt, *.model or *.vocab"),
        (["<blk>", "<sos/eos>", "<unk>", "a"], "tokens.txt has 4 tokens"),
        (["<blk> x y"], "models here have the blank"),
    ],
)
def test_without_its_tokens_what_belongs_to_them_starts_anew(
    tmp_path: Path, tokenizer: Tokenizer, tokens: list[str] | None, reason: str
) -> None:
    write_published(tmp_path / "exp" / "epoch-30.pt", fresh(1))
    if tokens:
        write_tokens(tmp_path / "exp" / "tokens.txt", tokens)
    model = fresh()
    report = initialise(model, tmp_path / "exp" / "epoch-30.pt", tokenizer)
    anew = {n for n in VOCABULARY if n in model.state_dict()}
    assert set(report.reinitialised) == anew
    assert different(model, fresh(1)) == anew
    assert reason in str(report)
    assert "what belongs to tokens starts anew" in str(report)


def test_a_published_encoder_alone_is_enough(tmp_path: Path, tokenizer: Tokenizer) -> None:
    weights = {
        published_name(n, ENCODER): v
        for n, v in fresh(1).state_dict().items()
        if n.startswith("encoder.")
    }
    torch.save(weights, tmp_path / "encoder.pt")
    model = fresh()
    report = initialise(model, tmp_path / "encoder.pt", tokenizer)
    assert not different(model.encoder, fresh(1).encoder)
    assert {n.split(".")[0] for n in report.reinitialised} == {
        *("predictor", "joiner", "simple_am_proj", "simple_lm_proj"),
    }
    check_complete(report, model)
