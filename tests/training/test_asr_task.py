"""The recognizer's task: its loss, its validation, and a whole run that is resumed."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training.tiny_corpus import ENCODER, VOCAB_SIZE, tiny_asr_config, write_corpus

from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.loading import load_model
from zipformer.config import LossConfig
from zipformer.config.toml import to_toml
from zipformer.context import Context
from zipformer.data.loader import Batch
from zipformer.data.manifests import manifest_seconds
from zipformer.nn.schedule import set_progress
from zipformer.training.asr import AsrTask
from zipformer.training.loop import fit
from zipformer.training.methods.base import StepInfo
from zipformer.training.metrics import read_metrics

ROOT = Path(__file__).parents[2]
STEP = StepInfo(step=4, context=Context(32, 64, 32), right_mode="masked")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def task(corpus: Path, tmp_path: Path) -> AsrTask:
    return AsrTask(tiny_asr_config(corpus, tmp_path))


def batch_of(lens: list[int], tokens: list[list[int]], task: AsrTask) -> Batch:
    features = torch.randn(len(lens), max(lens), 80)
    return Batch(
        features=features,
        feature_lens=torch.tensor(lens),
        tokens=tokens,
        texts=[task.tokenizer.decode(ids) for ids in tokens],
        cut_ids=[f"cut-{i}" for i in range(len(lens))],
        seconds=sum(lens) * 0.01,
    )


def test_loss_is_the_weighted_sum_of_its_parts(task: AsrTask) -> None:
    model = task.build_model().eval()
    batch = batch_of([90, 120], [[5, 6, 7], [8, 9]], task)
    loss, info = task.loss(model, batch, STEP)
    expected = 0.5 * info["simple"] + 1.0 * info["pruned"] + 0.2 * info["ctc"]
    torch.testing.assert_close(loss, expected)
    assert torch.equal(info["loss"], loss.detach())
    assert info["frames"] == 21 + 28  # ((T - 7) // 2 + 1) // 2
    assert not any(value.requires_grad for value in info.values())


def test_loss_is_a_sum_over_the_batch(task: AsrTask) -> None:
    model = task.build_model().eval()
    batch = batch_of([90, 120], [[5, 6, 7], [8, 9]], task)
    together = task.loss(model, batch, STEP)[1]
    alone = []
    for i, length in enumerate((90, 120)):
        one = replace(
            batch,
            features=batch.features[i : i + 1, :length],
            feature_lens=batch.feature_lens[i : i + 1],
            tokens=batch.tokens[i : i + 1],
        )
        alone.append(task.loss(model, one, STEP)[1])
    for name in ("simple", "pruned", "ctc", "frames"):
        torch.testing.assert_close(
            together[name].double(), sum(a[name].double() for a in alone), rtol=1e-4, atol=1e-4
        )


def test_every_parameter_learns_from_the_loss(task: AsrTask) -> None:
    model = task.build_model().train()
    set_progress(model, 1e9)  # no skips
    batch = batch_of([150, 180], [[5, 6, 7], [8, 9, 10, 11]], task)
    task.loss(model, batch, STEP)[0].backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("attention", [False, True], ids=["ctc", "ctc and attention"])
def test_a_model_without_transducer_learns_and_is_validated(
    corpus: Path, tmp_path: Path, attention: bool
) -> None:
    config = tiny_asr_config(corpus, tmp_path, max_steps=1)
    heads = replace(
        config.model,
        transducer=False,
        attention_decoder=attention,
        aed_layers=1,
        aed_dim=8,
        aed_heads=2,
        aed_feedforward_dim=8,
    )
    loss = LossConfig(transducer_scale=0.0, ctc_scale=0.3, aed_scale=0.7 if attention else 0.0)
    config = replace(config, model=heads, loss=loss)
    task = AsrTask(config)
    model = task.build_model().train()
    set_progress(model, 1e9)  # no skips
    batch = batch_of([150, 180], [[5, 6, 7], [8, 9, 10, 11]], task)
    total, info = task.loss(model, batch, STEP)
    total.backward()
    assert info.keys() == {"loss", "frames", "ctc"} | ({"aed"} if attention else set())
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    fit(config)  # validates at the end
    assert load_model(tmp_path, use_averaged_model=False).model.joiner is None
    (record,) = [r for r in read_metrics(tmp_path / "metrics.jsonl") if r["kind"] == "valid"]
    assert record["wer full"] >= 0.0


def test_context_and_right_mode_reach_the_encoder(task: AsrTask) -> None:
    model = task.build_model().eval()
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(0.2 * torch.randn_like(p))
    batch = batch_of([200], [[5, 6, 7]], task)
    steps = [
        STEP,
        replace(STEP, right_mode="windowed"),
        replace(STEP, context=Context(32, 64, 0)),
        replace(STEP, context=Context.full()),
    ]
    losses = {round(task.loss(model, batch, step)[0].item(), 3) for step in steps}
    assert len(losses) == 4


def test_audio_of_a_manifest_is_summed(corpus: Path, tmp_path: Path, task: AsrTask) -> None:
    seconds = manifest_seconds(corpus / "train.jsonl.gz")
    assert 14.0 < seconds < 28.0
    assert task.epoch_seconds() == seconds
    with gzip.open(corpus / "train.jsonl.gz") as packed:
        (tmp_path / "plain.jsonl").write_bytes(packed.read())
    assert manifest_seconds(tmp_path / "plain.jsonl") == seconds


@pytest.fixture(scope="module")
def straight(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tiny_asr_config(corpus, tmp_path_factory.mktemp("straight")))


@pytest.mark.parametrize(("stop_at", "num_workers"), [(2, 0), (5, 1)])
def test_resumed_training_of_a_recognizer_equals_straight_training(
    corpus: Path, straight: Path, tmp_path: Path, stop_at: int, num_workers: int
) -> None:
    def config(**train: Any) -> Any:
        made = tiny_asr_config(corpus, tmp_path, **train)
        return replace(made, data=replace(made.data, num_workers=num_workers))

    fit(config(max_steps=stop_at))
    fit(config())
    ours = checkpoint.load(tmp_path / "epoch-2.pt")
    theirs = checkpoint.load(straight / "epoch-2.pt")
    assert ours["state"] == theirs["state"]
    assert theirs["state"]["step"] > 5
    for part in ("model", "average"):
        mine, other = (flat(content[part]) for content in (ours, theirs))
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    for name in ("loss", "pruned", "lr", "context", "right_mode", "grad_norm"):
        logged = [
            [r.get(name) for r in read_metrics(d / "metrics.jsonl") if r["kind"] == "train"]
            for d in (tmp_path, straight)
        ]
        assert logged[0] == logged[1]


def flat(part: dict[str, Any]) -> dict[str, Tensor]:
    return part.get("total", part)


def test_trained_recognizer_is_loaded_from_its_folder_alone(straight: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(straight, moved)
    loaded = load_model(moved, epoch=2, avg=2)
    assert loaded.config.encoder == ENCODER
    assert loaded.tokenizer.vocab_size == VOCAB_SIZE == loaded.model.vocab_size
    assert (moved / "config.toml").read_text() == to_toml(loaded.config)
    out, lengths = loaded.model.encoder(torch.randn(1, 100, 80), torch.tensor([100]))
    assert out.isfinite().all() and lengths.tolist() == [23]


def test_training_from_the_command_line(corpus: Path, tmp_path: Path) -> None:
    toml = tmp_path / "run.toml"
    toml.write_text(to_toml(tiny_asr_config(corpus, tmp_path / "exp")))
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/train.py"), str(toml), "--max-steps", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "finished. To go on, raise train.max_steps (1)" in done.stderr
    assert (tmp_path / "exp/checkpoint-1.pt").exists()
