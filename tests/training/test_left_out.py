"""``loss.balancer`` and ``loss.whiten`` take the regularizers of activations out, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from training.tiny_corpus import tiny_asr_config, write_corpus

from zipformer.checkpoint import files as checkpoint
from zipformer.config import RunConfig, ValidationConfig
from zipformer.context import Context
from zipformer.data.loader import Batch
from zipformer.nn import regularizers
from zipformer.nn.regularizers import Balancer, Whiten
from zipformer.training.asr import AsrTask
from zipformer.training.loop import fit
from zipformer.training.methods.base import StepInfo
from zipformer.training.metrics import Record, read_metrics

STEP = StepInfo(step=4, context=Context(32, 64, 32), right_mode="masked")
WAYS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def without(config: RunConfig, balancer: bool, whiten: bool) -> RunConfig:
    return replace(config, loss=replace(config.loss, balancer=balancer, whiten=whiten))


def built(config: RunConfig) -> tuple[AsrTask, nn.Module]:
    task = AsrTask(config)
    torch.manual_seed(3)
    return task, task.build_model().train()


def kinds_in(model: nn.Module) -> set[type[nn.Module]]:
    return {type(m) for m in model.modules()} & {Balancer, Whiten}


def gradients(config: RunConfig) -> dict[str, torch.Tensor]:
    task, model = built(config)
    torch.manual_seed(4)
    batch = Batch(
        features=torch.randn(2, 120, 80),
        feature_lens=torch.tensor([90, 120]),
        tokens=[[5, 6, 7], [8, 9]],
        texts=["", ""],
        cut_ids=["a", "b"],
        seconds=2.1,
    )
    task.loss(model, batch, STEP)[0].backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("balancer,whiten", WAYS)
def test_what_is_left_out_is_in_no_part_of_the_model_and_weights_are_the_same(
    balancer: bool, whiten: bool, corpus: Path, tmp_path: Path
) -> None:
    config = tiny_asr_config(corpus, tmp_path)
    whole, model = built(config)[1], built(without(config, balancer, whiten))[1]
    assert kinds_in(whole) == {Balancer, Whiten}
    wanted = {kind for kind, there in ((Balancer, balancer), (Whiten, whiten)) if there}
    assert kinds_in(model) == wanted
    before, after = whole.state_dict(), model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("balancer,whiten", WAYS[1:])
def test_gradients_are_those_where_the_others_never_act(
    balancer: bool, whiten: bool, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_asr_config(corpus, tmp_path)
    monkeypatch.setattr(regularizers, "chance", lambda prob: True)
    found, acting = gradients(without(config, balancer, whiten)), gradients(config)
    for kind, there in ((Balancer, balancer), (Whiten, whiten)):
        if not there:
            monkeypatch.setattr(kind, "forward", lambda self, x, valid=None: x)
    silent = gradients(config)
    assert all(torch.equal(silent[name], grad) for name, grad in found.items())
    assert not all(torch.equal(acting[name], grad) for name, grad in found.items())


@pytest.mark.slow
def test_a_run_without_them_resumes_exactly_and_may_go_on_with_them(
    corpus: Path, tmp_path: Path
) -> None:
    def of(name: str, steps: int) -> RunConfig:
        config = tiny_asr_config(corpus, tmp_path / name, num_epochs=1, max_steps=steps)
        return replace(config, validation=ValidationConfig(contexts=("full",), wer_cuts=0))

    def records() -> list[Record]:
        found = read_metrics(tmp_path / "resumed" / "metrics.jsonl")
        return [r for r in found if r["kind"] == "train"]

    fit(without(of("straight", 3), False, False))
    for steps in (1, 3):
        fit(without(of("resumed", steps), False, False))
    ours, theirs = (
        checkpoint.load(tmp_path / name / "checkpoint-3.pt")["model"]
        for name in ("resumed", "straight")
    )
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert not {"balancer", "whiten"} & records()[-1].keys()
    fit(of("resumed", 4))
    assert records()[-1]["step"] == 4 and "whiten" in records()[-1]
