"""Checkpoint files are whole, safe to read and strict; averages come out of them exactly."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training.tiny_corpus import ENCODER, VOCAB_SIZE, write_tokenizer

from zipformer.cli import to_dict
from zipformer.config import ModelConfig, RunConfig, TrainConfig
from zipformer.model import AsrModel
from zipformer.training import checkpoint
from zipformer.training.averaging import ModelAverage

ROOT = Path(__file__).parents[2]
CONTENT: dict[str, Any] = {"model": {"w": torch.arange(3.0)}, "config": {}}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.pt", CONTENT | {"state": {"step": 3, "names": ["x", None, 1.5]}})
    content = checkpoint.load(tmp_path / "a.pt")
    assert torch.equal(content["model"]["w"], torch.arange(3.0))
    assert content["state"] == {"step": 3, "names": ["x", None, 1.5]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_failure_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, CONTENT)
    before = path.read_bytes()

    def half(content: object, file: Any) -> None:
        file.write(before[: len(before) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space left") as raised:
        checkpoint.save(path, {"model": {}, "config": {}})
    assert "a.pt" in raised.value.__notes__[0]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_file_is_replaced_not_rewritten(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "epoch-1.pt", CONTENT)
    os.link(tmp_path / "epoch-1.pt", tmp_path / "best-valid.pt")
    before = (tmp_path / "best-valid.pt").read_bytes()
    checkpoint.save(tmp_path / "epoch-1.pt", CONTENT | {"model": {"w": torch.zeros(3)}})
    assert (tmp_path / "best-valid.pt").read_bytes() == before


def test_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-1.pt"
    checkpoint.save(path, CONTENT | {"state": {"step": 1}})
    before = path.read_bytes()
    code = (
        "import os, sys, torch; from pathlib import Path\n"
        "from zipformer.training import checkpoint\n"
        "def half(content, file):\n"
        "    file.write(b'PK half a file'); file.flush(); os.kill(os.getpid(), 9)\n"
        "torch.save = half\n"
        "checkpoint.save(Path(sys.argv[1]), {'model': {}, 'config': {}})"
    )
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "checkpoint-1.pt.tmp").exists()
    assert path.read_bytes() == before
    assert checkpoint.newest(tmp_path) == path  # what was left over is not taken for one


def test_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"model": {}, "config": Trap()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="a.pt is refused.*run code"):
        checkpoint.load(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(ValueError, match="b.pt is refused.*run code"):
        checkpoint.load(tmp_path / "b.pt")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_damaged_file_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, CONTENT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"a\.pt is .*damaged"):
        checkpoint.load(path)


def test_missing_file_lists_those_that_exist(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "epoch-3.pt", CONTENT)
    with pytest.raises(FileNotFoundError, match=r"epoch-9.pt does not exist.*epoch-3.pt"):
        checkpoint.load(tmp_path / "epoch-9.pt")


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.pt", {"weights": {}})
    with pytest.raises(ValueError, match="not a checkpoint of a training run"):
        checkpoint.load(tmp_path / "a.pt")


def test_weights_of_another_architecture_are_listed() -> None:
    weights = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).state_dict()
    other = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(3), nn.Linear(3, 1))
    with pytest.raises(ValueError) as raised:
        checkpoint.load_weights(other, weights, "epoch-1.pt")
    message = str(raised.value)
    assert "epoch-1.pt is a checkpoint of another architecture; 6 parameters differ" in message
    assert "0.weight: (3, 2) in the checkpoint, (4, 2) in the model" in message
    assert "2.weight: missing in the checkpoint" in message
    with pytest.raises(ValueError, match=r"1.weight: only in the checkpoint"):
        checkpoint.load_weights(nn.Sequential(nn.Linear(2, 3)), weights, "epoch-1.pt")


@pytest.mark.parametrize(
    ("epoch_step", "expected"), [(6, "checkpoint-10.pt"), (10, "epoch-2.pt"), (14, "epoch-2.pt")]
)
def test_newest_is_the_one_of_most_steps(tmp_path: Path, epoch_step: int, expected: str) -> None:
    assert checkpoint.newest(tmp_path) is None
    for name, step in {"checkpoint-9": 9, "checkpoint-10": 10, "epoch-1": 5}.items():
        checkpoint.save(tmp_path / f"{name}.pt", CONTENT | {"state": {"step": step}})
    checkpoint.save(tmp_path / "epoch-2.pt", CONTENT | {"state": {"step": epoch_step}})
    (tmp_path / "best-valid.pt").touch()
    newest = checkpoint.newest(tmp_path)
    assert newest is not None and newest.name == expected


# Loading for inference: a run of 4 epochs of 5 steps, a snapshot each step, saved every 2 steps.


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, torch.Tensor]]]:
    """The run's folder, and the model's weights after every step from 1 on."""
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
    loaded = checkpoint.load_model(exp_dir, epoch=epoch, avg=avg)
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
    loaded = checkpoint.load_model(exp_dir, epoch=3, use_averaged_model=False)
    assert all(torch.equal(v, history[14][n]) for n, v in loaded.model.state_dict().items())
    assert loaded.label == "epoch3-avg1-raw"
    loaded = checkpoint.load_model(exp_dir, epoch=3, avg=3, use_averaged_model=False)
    check_weights(loaded.model, [history[4], history[9], history[14]])


@pytest.mark.parametrize(("step", "avg"), [(20, 1), (20, 3), (8, 4)])
def test_iter_counts_step_checkpoints(
    run: tuple[Path, list[dict[str, torch.Tensor]]], step: int, avg: int
) -> None:
    exp_dir, history = run
    loaded = checkpoint.load_model(exp_dir, iter=step, avg=avg)
    check_weights(loaded.model, history[step - 2 * avg : step])
    assert loaded.label == f"iter{step}-avg{avg}"


def test_without_a_number_the_newest_is_taken(
    run: tuple[Path, list[dict[str, torch.Tensor]]],
) -> None:
    assert checkpoint.load_model(run[0]).path.name == "epoch-4.pt"


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
        checkpoint.load_model(run[0], **arguments)


def test_range_without_a_snapshot_says_what_to_do(
    tmp_path: Path, run: tuple[Path, list[dict[str, torch.Tensor]]]
) -> None:
    shutil.copytree(run[0], tmp_path, dirs_exist_ok=True)
    content = checkpoint.load(tmp_path / "epoch-4.pt")
    content["average"] = checkpoint.load(tmp_path / "epoch-3.pt")["average"]
    checkpoint.save(tmp_path / "epoch-4.pt", content)
    with pytest.raises(ValueError, match=r"epoch-3.pt and epoch-4.pt.*train.average_every = 1"):
        checkpoint.load_model(tmp_path, epoch=4)


def test_tokenizer_that_was_exchanged_is_refused(
    tmp_path: Path, run: tuple[Path, list[dict[str, torch.Tensor]]]
) -> None:
    shutil.copytree(run[0], tmp_path, dirs_exist_ok=True)
    with open(tmp_path / "bpe.model", "ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="bpe.model is not the tokenizer that epoch-4.pt"):
        checkpoint.load_model(tmp_path)
    (tmp_path / "bpe.model").unlink()
    with pytest.raises(FileNotFoundError, match="bpe.model is missing"):
        checkpoint.load_model(tmp_path)


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
        checkpoint.load_model(tmp_path)
