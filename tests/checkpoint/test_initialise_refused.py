"""What a new run refuses to start from."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint.sources import (
    MODEL,
    fresh,
    write_published,
)
from nn.small_encoder import KINDS
from training.tiny_corpus import ENCODER, VOCAB_SIZE

from zipformer.checkpoint.initialise import initialise
from zipformer.model import AsrModel
from zipformer.tokens import Tokenizer


@pytest.mark.parametrize(
    ("encoder", "model", "messages"),
    [
        (
            {"feedforward_dims": (16, 20)},
            {},
            [
                r"encoder.stacks.1.layers.0.feed_forward1.in_proj.weight: \(12, 16\) there, "
                r"\(15, 16\) here",
                "encoder.feedforward_dims",
            ],
        ),
        ({"num_layers": (1, 2)}, {}, ["encoder.stacks.1.layers.1.*missing there", "num_layers"]),
        ({"causal": False}, {}, ["depthwise_conv.*missing there", "encoder.causal"]),
        ({"feature_mean": -10.0}, {}, ["encoder.feature_mean = 0.0 there, -10.0 here"]),
        (
            {},
            {"predictor_dim": 20},
            [r"predictor.embedding.weight: \(24, 16\) there, \(24, 20\) here", "predictor_dim"],
        ),
        ({}, {"context_size": 1}, [r"model.context_size = 2 there, 1 here$"]),
        ({}, {"joiner_dim": 20}, ["joiner.encoder_proj.weight", "model.joiner_dim"]),
    ],
    ids=["feedforward", "layers", "causal", "features", "predictor", "history", "joiner"],
)
@pytest.mark.parametrize("published", [False, True], ids=["ours", "published"])
def test_another_architecture_is_refused_by_name(
    run: Path,
    tokenizer: Tokenizer,
    encoder: dict[str, object],
    model: dict[str, int],
    messages: list[str],
    published: bool,
) -> None:
    path = run
    if published:
        path = run / "pretrained.pt"
        write_published(path, fresh(1))
    target = AsrModel(replace(ENCODER, **encoder), VOCAB_SIZE, replace(MODEL, **model))
    before = {n: v.clone() for n, v in target.state_dict().items()}
    for message in ["train.init_from: .* is of another architecture", *messages]:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            initialise(target, path, tokenizer)
    assert all(torch.equal(v, before[n]) for n, v in target.state_dict().items())


@pytest.mark.parametrize("published", [False, True], ids=["ours", "published"])
def test_another_kind_of_encoder_is_refused(
    run: Path, tokenizer: Tokenizer, published: bool
) -> None:
    if published:
        write_published(run / "pretrained.pt", fresh(1))
    target = AsrModel(KINDS["conformer"], VOCAB_SIZE, MODEL)
    with pytest.raises(ValueError, match=r"encoder.kind = zipformer there, conformer here"):
        initialise(target, run / "pretrained.pt" if published else run, tokenizer)


def test_an_activation_shows_in_no_shape_and_is_refused(run: Path, tokenizer: Tokenizer) -> None:
    write_published(run / "pretrained.pt", fresh(1))
    target = AsrModel(replace(ENCODER, activation="swish"), VOCAB_SIZE, MODEL)
    for path in (run, run / "pretrained.pt"):
        with pytest.raises(ValueError, match="encoder.activation = swoosh there, swish here"):
            initialise(target, path, tokenizer)


def test_a_deeper_published_encoder_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    deeper = AsrModel(replace(ENCODER, num_layers=(1, 2)), VOCAB_SIZE, MODEL)
    write_published(tmp_path / "pretrained.pt", deeper)
    with pytest.raises(ValueError, match=r"(?s)stacks.1.layers.1.*missing here.*num_layers"):
        initialise(fresh(), tmp_path / "pretrained.pt", tokenizer)
    write_published(tmp_path / "other.pt", fresh(1), **{"encoder.new.weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"encoder.new.weight: missing here"):
        initialise(fresh(), tmp_path / "other.pt", tokenizer)


def test_a_file_that_could_run_code_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"model": {}, "params": Harmful()}, tmp_path / "epoch-9.pt")
    with pytest.raises(ValueError, match=r"epoch-9.pt is refused: it names posix.mkdir"):
        initialise(fresh(), tmp_path / "epoch-9.pt", tokenizer)
    assert not (tmp_path / "made").exists()


def test_what_is_not_there_is_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        initialise(fresh(), tmp_path / "nowhere", tokenizer)
    with pytest.raises(FileNotFoundError, match="holds nothing to start from"):
        initialise(fresh(), tmp_path, tokenizer)
    torch.save({"weights": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds no Zipformer.*it has weights"):
        initialise(fresh(), tmp_path / "a.pt", tokenizer)
    write_published(tmp_path / "exp" / "epoch-3.pt", fresh(1))
    with pytest.raises(ValueError, match="name a file: --init-from .*epoch-3.pt"):
        initialise(fresh(), tmp_path / "exp", tokenizer)
