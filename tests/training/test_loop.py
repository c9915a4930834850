"""Laws of the loop, with a task of a few numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training.runs import records, start, stripped
from training.tiny_task import TinyTask, tiny_config

from zipformer.checkpoint import files as checkpoint
from zipformer.config import OptimConfig
from zipformer.context import Context
from zipformer.data.sampler import Share
from zipformer.optim import Eden, ScaledAdam
from zipformer.training.loop import fit
from zipformer.training.metrics import read_metrics


def test_schedules_follow_the_audio_that_was_seen(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, num_epochs=1)
    config = replace(config, schedule=replace(config.schedule, ref_seconds=2.0))
    task = TinyTask()
    fit(config, task)
    seconds = [0.0]
    for batch in task.build_loader(Share()).epoch(1):
        seconds.append(seconds[-1] + batch.seconds)
    expected = [0.5 + (0.1 - 0.5) * (s / 2.0) / 20.0 for s in seconds[:-1]]
    assert task.progress == pytest.approx(expected)


def test_learning_rate_is_that_of_the_schedule_at_step_and_epoch(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, log_every=1)
    config = replace(config, optim=OptimConfig(lr_batches=5.0, lr_epochs=1.0, warmup_batches=4.0))
    fit(config, TinyTask())
    optimizer = ScaledAdam([("p", torch.nn.Parameter(torch.ones(2)))], lr=0.045)
    scheduler = Eden(optimizer, 5.0, 1.0, 4.0, 0.5)
    for record in records(tmp_path):
        if record["kind"] == "train":
            scheduler.step_epoch(record["epoch"] - 1)
            scheduler.step_batch(record["step"] - 1)
            assert record["lr"] == optimizer.param_groups[0]["lr"]


def test_context_is_drawn_for_every_step(tmp_path: Path) -> None:
    task = TinyTask()
    fit(tiny_config(tmp_path), task)
    assert [info.step for info in task.steps] == list(range(21))
    assert len({info.context for info in task.steps}) > 3
    assert all(isinstance(info.context, Context) for info in task.steps)


def test_epoch_without_batches_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no batch.*data.train"):
        fit(tiny_config(tmp_path), TinyTask(batches_per_epoch=0))


def test_only_the_last_step_checkpoints_are_kept(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, save_every=2, keep_last=3), TinyTask())
    assert checkpoint.steps_in(tmp_path) == [16, 18, 20]
    assert checkpoint.epochs_in(tmp_path) == [1, 2, 3]
    assert not list(tmp_path.glob("*.tmp"))


def test_best_epochs_are_those_of_lowest_loss_and_of_lowest_wer_at_each_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter(
        {"loss": loss, "wer full": full, "wer 32/256/64": streaming}
        for loss, full, streaming in [(3.0, 9.0, 10.0), (1.0, 8.0, 12.0), (2.0, 7.0, 11.0)]
    )
    monkeypatch.setattr(TinyTask, "validate", lambda self, model, processes: next(figures))
    fit(tiny_config(tmp_path, valid_every=0), TinyTask())
    for name, epoch in (("valid", 2), ("wer-full", 3), ("wer-32-256-64", 1)):
        best = tmp_path / f"best-{name}.pt"
        assert best.read_bytes() == (tmp_path / f"epoch-{epoch}.pt").read_bytes()
    state = stripped(tmp_path / "epoch-3.pt")["state"]
    assert state["best_epoch"] == 2
    assert state["best_wer"] == {"full": 7.0, "32/256/64": 10.0}


def test_checkpoints_are_also_written_by_the_clock(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, max_steps=3, save_every=0, valid_every=0, save_minutes=1e-9)
    fit(config, TinyTask())
    assert checkpoint.steps_in(tmp_path) == [1, 2, 3]


def test_average_in_the_checkpoint_is_the_mean_of_the_snapshots(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, save_every=2, average_every=2, keep_last=99), TinyTask())
    snapshots = [stripped(tmp_path / f"checkpoint-{s}.pt")["model"] for s in range(2, 21, 2)]
    average = stripped(tmp_path / "checkpoint-20.pt")["average"]
    assert average["count"] == len(snapshots)
    for name, total in average["total"].items():
        assert total.dtype == torch.float64
        direct = torch.stack([s[name].double() for s in snapshots]).sum(dim=0)
        assert torch.equal(total, direct)


def test_metrics_have_every_log_step_and_lie_on_tensorboard_too(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    fit(tiny_config(tmp_path, tensorboard=True), TinyTask())
    found = read_metrics(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in found if r["kind"] == "train"] == [1, 4, 8, 12, 16, 20]
    assert [r["step"] for r in found if r["kind"] == "valid"] == [5, 7, 10, 14, 15, 20, 21]
    names = {"loss", "first", "lr", "grad_norm", "context", "right_mode", "eta_seconds", "done"}
    assert names <= found[1].keys()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    curve = events.Scalars("train/loss")
    assert [event.step for event in curve] == [1, 4, 8, 12, 16, 20]
    assert curve[-1].value == pytest.approx([r for r in found if r["kind"] == "train"][-1]["loss"])


def test_logged_loss_is_per_frame_over_the_steps_since_the_last_line(tmp_path: Path) -> None:
    class Logged(TinyTask):
        seen: list[tuple[float, float]] = []

        def loss(self, model: Any, batch: Any, step: Any) -> Any:
            loss, info = super().loss(model, batch, step)
            self.seen.append((info["loss"].item(), info["frames"].item()))
            return loss, info

    task = Logged()
    fit(tiny_config(tmp_path), task)
    record = [r for r in records(tmp_path) if r["kind"] == "train" and r["step"] == 12][0]
    losses, frames = zip(*task.seen[8:12], strict=True)
    assert record["loss"] == pytest.approx(sum(losses) / sum(frames))


def test_log_lines_are_on_the_terminal_and_in_the_file(tmp_path: Path) -> None:
    completed = start(tmp_path)
    assert completed.returncode == 0
    line = next(x for x in completed.stderr.splitlines() if "step 12 (" in x)
    for part in ("%, epoch 2)", "loss ", "(first ", "lr ", "context ", "h audio/h", "ETA "):
        assert part in line
    assert line.split("INFO ")[1] in (tmp_path / "log.txt").read_text()
    assert "\r" not in completed.stderr  # the bar is for terminals
