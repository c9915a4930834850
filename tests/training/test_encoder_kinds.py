"""Every kind of encoder trains, resumes and loads through the one loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from nn.small_encoder import BASELINES, KINDS
from training.tiny_corpus import tiny_asr_config, write_corpus

from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.loading import load_model
from zipformer.config import RunConfig
from zipformer.context import Context
from zipformer.data.loader import Batch
from zipformer.nn.schedule import set_progress
from zipformer.training.asr import AsrTask
from zipformer.training.loop import fit
from zipformer.training.methods.base import StepInfo


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def config_of(kind: str, corpus: Path, exp_dir: Path, **train: Any) -> RunConfig:
    return replace(tiny_asr_config(corpus, exp_dir, **train), encoder=KINDS[kind])


@pytest.mark.parametrize("kind", BASELINES)
def test_every_parameter_learns_from_full_context_and_chunks(
    kind: str, corpus: Path, tmp_path: Path
) -> None:
    task = AsrTask(config_of(kind, corpus, tmp_path))
    model = task.build_model().train()
    set_progress(model, 1e9)  # no skips
    batch = Batch(
        features=torch.randn(2, 180, 80),
        feature_lens=torch.tensor([150, 180]),
        tokens=[[5, 6, 7], [8, 9, 10, 11]],
        texts=["", ""],
        cut_ids=["a", "b"],
        seconds=3.3,
    )
    for context in (Context.full(), Context(32, 64, 32)):
        loss, _ = task.loss(model, batch, StepInfo(9, context, "windowed"))
        loss.backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("kind", BASELINES)
def test_a_run_trains_resumes_exactly_and_loads(kind: str, corpus: Path, tmp_path: Path) -> None:
    settings = {"num_epochs": 1, "valid_every": 0, "save_every": 2}
    fit(config_of(kind, corpus, tmp_path / "straight", max_steps=2, **settings))
    for steps in (1, 2):
        fit(config_of(kind, corpus, tmp_path / "resumed", max_steps=steps, **settings))
    ours, theirs = (
        checkpoint.load(tmp_path / name / "checkpoint-2.pt")["model"]
        for name in ("resumed", "straight")
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    loaded = load_model(tmp_path / "straight", iter=2)
    assert loaded.config.encoder == KINDS[kind] == loaded.model.encoder.config
