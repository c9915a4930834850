"""Checkpoints of other trainings are averaged as their own programs do it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from released.official import SETTINGS
from torch import Tensor

from zipformer.released.averages import Range, averaged

PERIOD = 10


def train(folder: Path, ends: dict[str, int], with_average: bool = True) -> list[Tensor]:
    """Checkpoints of a training in which one number walks; returns it after every step."""
    generator = torch.Generator().manual_seed(1)
    value, history, total, count = torch.zeros(3), [], torch.zeros(3), 0
    for step in range(1, max(ends.values()) + 1):
        value = value + torch.randn(3, generator=generator)
        history.append(value)
        if step % PERIOD == 0:  # the mean over averages so far, one each period
            count += 1
            total = total + value
        for name in (name for name, end in ends.items() if end == step):
            content = {"model": {"w": value}, "batch_idx_train": step, "average_period": PERIOD}
            if with_average:
                content["model_avg"] = {"w": total / count}
            torch.save({**content, **SETTINGS}, folder / name)
    return history


EPOCHS = {f"epoch-{n}.pt": 33 * n for n in (1, 2, 3, 4)}


@pytest.mark.parametrize(("epoch", "avg"), [(4, 2), (3, 1), (2, 2), (4, 4), (1, 1)])
def test_an_average_is_the_mean_over_the_periods_in_between(
    tmp_path: Path, epoch: int, avg: int
) -> None:
    history = train(tmp_path, EPOCHS)
    found = averaged(tmp_path, Range(epoch=epoch, avg=avg))
    snapshots = [
        history[step - 1]
        for step in range(PERIOD, 33 * epoch + 1, PERIOD)
        if step > 33 * (epoch - avg) // PERIOD * PERIOD
    ]
    torch.testing.assert_close(found.weights["w"], torch.stack(snapshots).mean(0))
    assert found.settings["encoder_dim"] == SETTINGS["encoder_dim"]
    assert found.weights["w"].dtype == torch.float32


def test_step_checkpoints_in_a_folder_exp(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    history = train(tmp_path / "exp", {f"checkpoint-{n}.pt": n for n in (20, 50, 80)})
    found = averaged(tmp_path, Range(iter=80, avg=2))
    snapshots = [history[step - 1] for step in (30, 40, 50, 60, 70, 80)]
    torch.testing.assert_close(found.weights["w"], torch.stack(snapshots).mean(0))


def test_without_averages_it_is_the_mean_of_the_checkpoints(tmp_path: Path) -> None:
    history = train(tmp_path, EPOCHS, with_average=False)
    found = averaged(tmp_path, Range(epoch=4, avg=3))
    wanted = torch.stack([history[33 * n - 1] for n in (2, 3, 4)]).mean(0)
    torch.testing.assert_close(found.weights["w"], wanted)
    alone = averaged(tmp_path, Range(epoch=4))
    assert torch.equal(alone.weights["w"], history[-1])


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (Range(epoch=9, avg=2), FileNotFoundError, r"epoch-7\.pt does not exist.*\[1, 2, 3, 4\]"),
        (Range(epoch=2, avg=3), ValueError, "beyond the start of training at epoch 2"),
        (Range(epoch=2, avg=0), ValueError, "--avg must be at least 1"),
        (Range(iter=66, avg=1), FileNotFoundError, r"takes checkpoint-66\.pt"),
    ],
)
def test_ranges_that_cannot_be(
    tmp_path: Path, wanted: Range, error: type[Exception], message: str
) -> None:
    train(tmp_path, EPOCHS)
    with pytest.raises(error, match=message):
        averaged(tmp_path, wanted)


def test_averages_that_cannot_be_told_apart(tmp_path: Path) -> None:
    train(tmp_path, {"epoch-1.pt": 41, "epoch-2.pt": 48})
    with pytest.raises(ValueError, match="after 40 and 40 steps: between them nothing"):
        averaged(tmp_path, Range(epoch=2))
    content = torch.load(tmp_path / "epoch-2.pt") | {"average_period": None}
    torch.save(content, tmp_path / "epoch-2.pt")
    with pytest.raises(ValueError, match="average_period = None"):
        averaged(tmp_path, Range(epoch=2))
