"""A new run starts from a model with other heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint.sources import (
    AED,
    check_complete,
    different,
    fresh,
    other_heads,
    write_checkpoint,
    write_published,
    write_tokens,
)

from zipformer.checkpoint.initialise import initialise
from zipformer.tokens import Tokenizer


def test_a_head_that_one_side_lacks_starts_anew_or_is_left(run: Path, tokenizer: Tokenizer) -> None:
    ctc = {"ctc_output.1.weight", "ctc_output.1.bias"}
    model = fresh(ctc=True)
    report = initialise(model, run, tokenizer)
    assert set(report.reinitialised) == ctc
    assert different(model, fresh(1)) == ctc
    assert not different(model.ctc_output, fresh(ctc=True).ctc_output)
    check_complete(report, model)

    write_checkpoint(run / "epoch-1.pt", fresh(1, ctc=True), snapshots=1, ctc=True)
    model = fresh()
    report = initialise(model, run, tokenizer)
    assert set(report.dropped) == ctc
    assert "dropped: ctc_output.1.weight, ctc_output.1.bias" in str(report)
    assert not different(model, fresh(1, ctc=True))


def test_a_transducer_becomes_a_model_of_other_heads(run: Path, tokenizer: Tokenizer) -> None:
    model = other_heads(7)
    report = initialise(model, run, tokenizer)
    assert not different(model.encoder, fresh(1).encoder)
    assert {n.split(".")[0] for n in report.reinitialised} == {"ctc_output", "attention_decoder"}
    assert {n.split(".")[0] for n in report.dropped} == {
        *("predictor", "joiner", "simple_am_proj", "simple_lm_proj"),
    }
    for head in ("ctc_output", "attention_decoder"):
        assert not different(getattr(model, head), getattr(other_heads(7), head))
    check_complete(report, model)


@pytest.mark.parametrize("published", [False, True], ids=["ours", "published"])
def test_an_attention_decoder_is_taken_over_where_both_have_one(
    run: Path, tokenizer: Tokenizer, published: bool
) -> None:
    path = run
    if published:
        path = run / "exp" / "pretrained.pt"
        write_published(path, other_heads(1))
        write_tokens(run / "exp" / "tokens.txt", tokenizer.tokens)
    else:
        write_checkpoint(run / "epoch-1.pt", other_heads(1), snapshots=1, heads=AED)
    model = other_heads(7)
    assert "attention_decoder.layers.0.src_attn.linear_k.weight" in different(model, other_heads(1))
    report = initialise(model, path, tokenizer)
    assert not different(model, other_heads(1))
    assert not (report.reinitialised or report.dropped or report.adapted)


def test_tokens_of_the_attention_decoder_move_to_their_new_places(
    run: Path, tokenizer: Tokenizer, letters: Tokenizer
) -> None:
    write_checkpoint(run / "epoch-1.pt", other_heads(1), snapshots=1, heads=AED)
    model = other_heads(7, vocab_size=letters.vocab_size)
    report = initialise(model, run, letters)
    parts = ("embed.weight", "output_layer.weight", "output_layer.bias")
    assert {f"attention_decoder.{part}" for part in parts} < set(report.adapted)
    old, new = (m.attention_decoder.embed.weight for m in (other_heads(1), model))
    assert torch.equal(new[letters.tokens.index("o")], old[tokenizer.tokens.index("o")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aed_layers": 2}, "attention_decoder.layers.1.*missing there.*model.aed_layers"),
        ({"aed_dim": 12}, r"attention_decoder.embed.weight: \(24, 8\) there.*model.aed_dim"),
        ({"aed_feedforward_dim": 16}, "look at model.aed_feedforward_dim"),
        ({"aed_heads": 4}, "model.aed_heads = 2 there, 4 here"),
    ],
    ids=["layers", "dim", "feedforward", "heads"],
)
def test_another_attention_decoder_is_refused_by_name(
    run: Path, tokenizer: Tokenizer, change: dict[str, int], message: str
) -> None:
    write_checkpoint(run / "epoch-1.pt", other_heads(1), snapshots=1, heads=AED)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        initialise(other_heads(7, replace(AED, **change)), run, tokenizer)
