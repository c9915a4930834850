"""A new run starts from other weights, and its report tells what became of each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint.sources import (
    MODEL,
    check_complete,
    different,
    fresh,
    write_checkpoint,
)
from torch import Tensor
from training.tiny_corpus import ENCODER, VOCAB_SIZE

from zipformer import Context
from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.averaging import ModelAverage
from zipformer.checkpoint.init_source import VOCABULARY
from zipformer.checkpoint.initialise import initialise
from zipformer.checkpoint.loading import load_model
from zipformer.config import ContextConfig, RunConfig
from zipformer.model import AsrModel
from zipformer.tokens import Tokenizer

FEATURES, LENGTHS = torch.randn(2, 200, 80), torch.tensor([200, 150])


@pytest.mark.parametrize("name", ["", "epoch-1.pt"])
def test_a_run_is_taken_over_whole(run: Path, tokenizer: Tokenizer, name: str) -> None:
    model = fresh()
    assert different(model, fresh(1)) == set(model.state_dict())
    report = initialise(model, run / name, tokenizer)
    assert not different(model, fresh(1))
    assert set(report.loaded) == set(model.state_dict())
    assert not (report.adapted or report.reinitialised or report.dropped)
    assert "epoch-1.pt" in report.source
    assert "24 of 24 tokens" in str(report)


def test_of_a_run_the_average_over_the_last_epoch_is_taken(run: Path, tokenizer: Tokenizer) -> None:
    average = checkpoint.load(run / "epoch-1.pt")["average"]
    write_checkpoint(run / "epoch-2.pt", fresh(2))
    content = checkpoint.load(run / "epoch-2.pt")
    later = ModelAverage(fresh(2))
    later.load_state_dict(average)
    later.add(fresh(3))  # the only snapshot of the second epoch, whose end has other weights
    checkpoint.save(run / "epoch-2.pt", content | {"average": later.state_dict()})
    model = fresh()
    report = initialise(model, run, tokenizer)
    assert "epoch2-avg1" in report.source
    for name, value in fresh(3).state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    initialise(model, run / "epoch-2.pt", tokenizer)
    assert not different(model, fresh(2))  # a file is taken as it is


def test_a_run_too_young_for_an_average_gives_its_weights(run: Path, tokenizer: Tokenizer) -> None:
    write_checkpoint(run / "epoch-1.pt", fresh(1), snapshots=0)
    model = fresh()
    report = initialise(model, run, tokenizer)
    assert not different(model, fresh(1))
    assert "not averaged: between the start of training and epoch-1.pt no snapshot" in str(report)


def test_a_model_without_right_context_goes_on_with_one_from_the_same_outputs(
    run: Path, tokenizer: Tokenizer
) -> None:
    source = load_model(run).model
    config = RunConfig(
        encoder=ENCODER,
        model=MODEL,
        context=ContextConfig(chunk=(32, -1), left=(64,), right=(0, 32, 64)),
    )
    torch.manual_seed(7)
    model = AsrModel(config.encoder, tokenizer.vocab_size, config.model).eval()
    initialise(model, run, tokenizer)

    def outputs(model: AsrModel, context: Context) -> Tensor:
        encoded, _ = model.encoder(FEATURES, LENGTHS, context=context)
        return model.joiner(encoded, model.predictor(torch.tensor([[0]])))

    with torch.no_grad():
        at_zero = [outputs(m, Context(32, 64, 0)) for m in (source, model)]
        assert torch.equal(*at_zero)
        assert not torch.equal(outputs(model, Context(32, 64, 32)), at_zero[0])


def test_rows_of_shared_tokens_move_to_their_new_places(
    run: Path, tokenizer: Tokenizer, letters: Tokenizer
) -> None:
    shared = set(tokenizer.tokens) & set(letters.tokens)
    assert 3 < len(shared) < min(tokenizer.vocab_size, letters.vocab_size)
    start, source = fresh(vocab_size=letters.vocab_size), fresh(1)
    model = fresh(vocab_size=letters.vocab_size)
    report = initialise(model, run, letters)
    own = set(model.state_dict())
    assert set(report.adapted) == {n for n in VOCABULARY if n in own}
    assert set(report.loaded) == own - set(report.adapted)
    check_complete(report, model)
    assert f"{len(shared)} of {letters.vocab_size} tokens are among the 24" in str(report)
    for name in report.adapted:
        now, before, old = (m.state_dict()[name] for m in (model, start, source))
        for i, token in enumerate(letters.tokens):
            expected = old[tokenizer.tokens.index(token)] if token in shared else before[i]
            assert torch.equal(now[i], expected), f"{name}: {token}"


def test_what_only_steers_training_may_change(run: Path, tokenizer: Tokenizer) -> None:
    encoder = replace(ENCODER, unmasked_dims=(8, 8))
    model = AsrModel(encoder, VOCAB_SIZE, MODEL)
    assert not initialise(model, run, tokenizer).reinitialised


def test_the_report_counts_many_names_by_part(run: Path, tokenizer: Tokenizer) -> None:
    model = fresh(ctc=True)
    lines = str(initialise(model, run, tokenizer)).splitlines()
    count = len(model.state_dict()) - 2
    assert lines[0] == f"weights from {run / 'epoch-1.pt'} (epoch1-avg1)"
    assert lines[1].startswith(f"  loaded: {count} parameters (encoder {count - 12}, predictor 2,")
    assert lines[2:5] == [
        "  adapted: none",
        "  reinitialised: ctc_output.1.weight, ctc_output.1.bias",
        "  dropped: none",
    ]
