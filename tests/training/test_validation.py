"""Validation: the same every time, for a set among others, in any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training.test_asr_task import batch_of
from training.tiny_corpus import tiny_asr_config, write_corpus, write_cuts

from zipformer.config import ScoringConfig
from zipformer.data.loader import Batch
from zipformer.report.curves import validation_charts
from zipformer.training.asr import AsrTask
from zipformer.training.distributed import Processes
from zipformer.training.metrics import format_valid, valid_record
from zipformer.training.state import TrainState, seed_step
from zipformer.training.validation import keep_alignable


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def task(corpus: Path, tmp_path: Path) -> AsrTask:
    return AsrTask(tiny_asr_config(corpus, tmp_path))


def batches(task: AsrTask, processes: Processes, limit: int) -> Iterator[Batch]:
    """Of the one validation set."""
    (path,) = task.config.data.valid
    return task.validation._batches(task.build_model(), path, processes, limit)


def test_only_utterances_that_can_be_aligned_have_a_validation_loss(task: AsrTask) -> None:
    # 31 frames give 6 outputs: room for 4 tokens.
    batch = batch_of([31, 31, 90, 8], [[5] * 4, [5] * 5, [], [5]], task)
    kept = keep_alignable(batch)
    assert kept is not None
    assert kept.cut_ids == ["cut-0"] and kept.tokens == [[5] * 4]
    assert kept.features.shape == (1, 31, 80)
    assert torch.equal(kept.features[0], batch.features[0, :31])
    assert keep_alignable(batch_of([8], [[5]], task)) is None
    whole = batch_of([31], [[5]], task)
    assert keep_alignable(whole) is whole


def test_it_is_deterministic_and_gives_loss_and_error_rate_per_context(task: AsrTask) -> None:
    model = task.build_model().eval()
    with torch.no_grad():
        figures = task.validate(model, Processes())
        seed_step(5, 5)
        assert task.validate(model, Processes()) == figures
    assert list(figures) == ["loss", "loss full", "wer full", "loss 32/64/32", "wer 32/64/32"]
    assert figures["loss"] == pytest.approx((figures["loss full"] + figures["loss 32/64/32"]) / 2)


def test_processes_share_the_validation_set_out(task: AsrTask) -> None:
    config = replace(task.config, data=replace(task.config.data, max_duration=2.0))
    task = AsrTask(config)
    for limit in (0, 3):
        whole = [b.cut_ids for b in batches(task, Processes(), limit)]
        parts = [[b.cut_ids for b in batches(task, Processes(rank, 2), limit)] for rank in (0, 1)]
        assert len(whole) > 1 and all(parts)
        assert sorted(parts[0] + parts[1]) == sorted(whole)


def test_the_error_rate_counts_word_errors(task: AsrTask, monkeypatch: pytest.MonkeyPatch) -> None:
    validation = replace(task.config.validation, contexts=("full",), wer_cuts=3)
    task = AsrTask(replace(task.config, validation=validation))
    spoken: list[list[int]] = []
    for batch in batches(task, Processes(), limit=3):
        spoken += batch.tokens
    assert len(spoken) == 3

    class Oracle:
        """Hears what was said."""

        def __init__(self, model: object, tokens: object) -> None:
            self.heard = iter(spoken)

        def decode(self, out: Tensor, lengths: Tensor) -> list[Any]:
            found = [next(self.heard) for _ in lengths]
            return [type("Found", (), {"tokens": tokens}) for tokens in found]

    monkeypatch.setattr("zipformer.training.validation.make_searcher", Oracle)
    model = task.build_model().eval()
    with torch.no_grad():
        assert task.validate(model, Processes())["wer full"] == 0.0
        spoken = [tokens + task.tokenizer.encode("nine") for tokens in spoken]
        words = sum(len(task.tokenizer.decode(tokens).split()) - 1 for tokens in spoken)
        found = task.validate(model, Processes())["wer full"]
    assert found == pytest.approx(100 * 3 / words)


def test_each_of_several_sets_has_the_figures_that_it_has_alone(
    task: AsrTask, corpus: Path, tmp_path: Path
) -> None:
    other = write_cuts(tmp_path, "other", 3, seed=9)
    model = task.build_model().eval()

    def validated(*valid: Path) -> dict[str, float]:
        data = replace(task.config.data, valid=valid)
        validation = replace(task.config.validation, contexts=("full",), wer_cuts=2)
        config = replace(task.config, data=data, validation=validation)
        with torch.no_grad():
            return AsrTask(config).validate(model, Processes())

    (valid,) = task.config.data.valid
    alone = {"valid": validated(valid), "other": validated(other)}
    both = validated(valid, other)
    for name, figures in alone.items():
        assert {
            f"{name}: {k}": v for k, v in figures.items() if k != "loss"
        }.items() <= both.items()
    losses = [figures["loss full"] for figures in alone.values()]
    assert min(losses) < both["loss full"] < max(losses)
    assert set(both) == {"loss", "loss full", "wer full"} | {
        f"{name}: {kind} full" for name in alone for kind in ("loss", "wer")
    }
    state = TrainState(step=1)
    state.take_validation(both)
    assert state.valid_wer == {"full": both["wer full"]}


def test_where_characters_are_counted_the_rate_is_called_so(task: AsrTask) -> None:
    config = replace(task.config, scoring=ScoringConfig(unit="char"))
    model = task.build_model().eval()
    with torch.no_grad():
        figures = AsrTask(config).validate(model, Processes())
    assert "cer full" in figures and "wer full" not in figures
    state = TrainState(step=1)
    state.take_validation(figures)
    assert state.valid_wer["full"] == figures["cer full"]


def test_the_log_has_a_line_for_each_of_several_sets() -> None:
    figures = {"loss": 0.5, "wer full": 7.0, "a: wer full": 6.0, "b: wer full": 8.0}
    assert format_valid(valid_record(TrainState(epoch=2, step=9), figures)) == [
        "validation at step 9 (epoch 2): loss 0.5  wer full 7",
        "validation at step 9 (epoch 2), a: wer full 6",
        "validation at step 9 (epoch 2), b: wer full 8",
    ]
    records = [{"kind": "valid", "step": 9, **figures}]
    charts = validation_charts(records)
    assert charts["a: wer"].y.title == "Validation: word error rate in %, a"
    assert [line.label for line in charts["wer"].lines] == ["wer full"]
