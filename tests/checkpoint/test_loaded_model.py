"""A model is loaded averaged over the end of its training, and only with what belongs to it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from training.tiny_corpus import ENCODER, VOCAB_SIZE, write_tokenizer

from zipformer.checkpoint import files as checkpoint
from zipformer.checkpoint.averaging import ModelAverage
from zipformer.checkpoint.loading import load_model
from zipformer.config import ModelConfig, RunConfig, TrainConfig
from zipformer.config.toml import to_dict
from zipformer.model import AsrModel


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, torch.Tensor]]]:
    """A run's folder, and the model's weights after every step from 1 on.

    4 epochs of 5 steps, a snapshot each step, saved every 2 steps.
    """
    torch.manual_seed(1)
    exp_dir = tmp_path_factory.mktemp("run")
    write_tokenizer(exp_dir / "bpe.model")
    config = RunConfig(
        encoder=ENCODER,
        model=ModelConfig(predictor_dim=16, joiner_dim=16),
        train=TrainConfig(exp_dir=exp_dir, save_every=2, average_every=1),
    )
    model = AsrModel(config.encoder, VOCAB_SIZE, config.model)
    average = ModelAverage(model)
    history = []
    for step in range(1, 21):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
        average.add(model)
        history.append({name: w.clone() for name, w in model.state_dict().items()})
        content = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "config": to_dict(config),
            "files": {"bpe.model": checkpoint.sha256(exp_dir / "bpe.model")},
            "state": {"step": step, "audio_seconds": 10.0 * step},
        }
        if step % 5 == 0:
            checkpoint.save(checkpoint.epoch_path(exp_dir, step // 5), content)
        if step % 2 == 0:
            checkpoint.save(checkpoint.step_path(exp_dir, step), content)
    return exp_dir, history


def check_weights(model: nn.Module, expected: list[dict[str, torch.Tensor]]) -> None:
    for name, value in model.state_dict().items():
        direct = torch.stack([w[name].double() for w in expected]).mean(dim=0)
        torch.testing.assert_close(value, direct.to(value.dtype), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("epoch", "avg"), [(4, 1), (4, 2), (3, 2), (4, 4), (1, 1)])
def test_avg_is_the_mean_over_the_snapshots_of_the_last_epochs(
    run: tuple[Path, list[dict[str, torch.Tensor]]], epoch: int, avg: int
) -> None:
    exp_dir, history = run
    loaded = load_model(exp_dir, epoch=epoch, avg=avg)
    check_weights(loaded.model, history[5 * (epoch - avg) : 5 * epoch])
    assert loaded.label == f"epoch{epoch}-avg{avg}"
    assert (loaded.path, loaded.steps) == (exp_dir / f"epoch-{epoch}.pt", 5 * epoch)
    assert loaded.audio_seconds == 50.0 * epoch
    assert loaded.config.encoder == ENCODER
    assert loaded.tokenizer.vocab_size == VOCAB_SIZE
    assert not loaded.model.training


def test_raw_weights_are_those_of_the_checkpoint(
    run: tuple[Path, list[dict[str, torch.Tensor]]],
) -> None:
    exp_dir, history = run
    loaded = load_model(exp_dir, epoch=3, use_averaged_model=False)
    assert all(torch.equal(v, history[14][n]) for n, v in loaded.model.state_dict().items())
    assert loaded.label == "epoch3-avg1-raw"
    loaded = load_model(exp_dir, epoch=3, avg=3, use_averaged_model=False)
    check_weights(loaded.model, [history[4], history[9], history[14]])


@pytest.mark.parametrize(("step", "avg"), [(20, 1), (20, 3), (8, 4)])
def test_iter_counts_step_checkpoints(
    run: tuple[Path, list[dict[str, torch.Tensor]]], step: int, avg: int
) -> None:
    exp_dir, history = run
    loaded = load_model(exp_dir, iter=step, avg=avg)
    check_weights(loaded.model, history[step - 2 * avg : step])
    assert loaded.label == f"iter{step}-avg{avg}"


def test_without_a_number_the_newest_is_taken(
    run: tuple[Path, list[dict[str, torch.Tensor]]],
) -> None:
    assert load_model(run[0]).path.name == "epoch-4.pt"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch": 3, "avg": 4}, "before|beyond the start"),
        ({"epoch": 3, "avg": 0}, "at least 1"),
        ({"epoch": 3, "iter": 4}, "not both"),
        ({"epoch": 9}, r"epoch-9.pt does not exist.*epoch-4.pt"),
        ({"iter": 3}, r"checkpoint-3.pt does not exist"),
        ({"iter": 4, "avg": 3}, "needs 3 earlier step checkpoints"),
    ],
)
def test_request_that_cannot_be_met_says_why(
    run: tuple[Path, list[dict[str, torch.Tensor]]], arguments: dict[str, int], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_model(run[0], **arguments)


def test_range_without_a_snapshot_says_what_to_do(
    tmp_path: Path, run: tuple[Path, list[dict[str, torch.Tensor]]]
) -> None:
    shutil.copytree(run[0], tmp_path, dirs_exist_ok=True)
    content = checkpoint.load(tmp_path / "epoch-4.pt")
    content["average"] = checkpoint.load(tmp_path / "epoch-3.pt")["average"]
    checkpoint.save(tmp_path / "epoch-4.pt", content)
    with pytest.raises(ValueError, match=r"epoch-3.pt and epoch-4.pt.*train.average_every = 1"):
        load_model(tmp_path, epoch=4)


def test_tokenizer_that_was_exchanged_is_refused(
    tmp_path: Path, run: tuple[Path, list[dict[str, torch.Tensor]]]
) -> None:
    shutil.copytree(run[0], tmp_path, dirs_exist_ok=True)
    with open(tmp_path / "bpe.model", "ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="bpe.model is not the tokenizer that epoch-4.pt"):
        load_model(tmp_path)
    (tmp_path / "bpe.model").unlink()
    with pytest.raises(FileNotFoundError, match="bpe.model is missing"):
        load_model(tmp_path)


def test_checkpoint_whose_weights_contradict_its_config_is_refused(
    tmp_path: Path, run: tuple[Path, list[dict[str, torch.Tensor]]]
) -> None:
    shutil.copytree(run[0], tmp_path, dirs_exist_ok=True)
    content = checkpoint.load(tmp_path / "epoch-4.pt")
    content["config"]["encoder"] = to_dict(
        RunConfig(encoder=replace(ENCODER, feedforward_dims=(20, 16)))
    )["encoder"]
    checkpoint.save(tmp_path / "epoch-4.pt", content)
    with pytest.raises(ValueError, match=r"epoch-4.pt is a checkpoint of another architecture"):
        load_model(tmp_path)
