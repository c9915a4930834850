"""Batches without a finite loss or without memory, and disks without room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training.runs import records, run, same, stripped
from training.tiny_task import TinyTask, tiny_config

from zipformer.training.loop import fit
from zipformer.training.step import NonFiniteError


@pytest.mark.parametrize("kind", ["nan_loss", "nan_grad"])
def test_non_finite_batch_changes_no_weight_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    fit(tiny_config(tmp_path, max_steps=4, save_every=1), TinyTask(**{kind: (2,)}))
    before, after = (stripped(tmp_path / f"checkpoint-{step}.pt") for step in (2, 3))
    for part in ("first.weight", "first.bias", "second.weight", "second.bias"):
        assert torch.equal(before["model"][part], after["model"][part])
    assert same(before["optimizer"]["state"], after["optimizer"]["state"])
    assert after["state"]["skipped"] == after["state"]["skipped_in_row"] == 1
    assert "cut-1-2-0 cut-1-2-1" in caplog.text
    last = stripped(tmp_path / "checkpoint-4.pt")
    assert last["state"]["skipped"] == 1 and last["state"]["skipped_in_row"] == 0
    assert not torch.equal(last["model"]["first.weight"], after["model"]["first.weight"])
    losses = [r["loss"] for r in records(tmp_path) if r["kind"] == "train"]
    assert losses and all(loss == loss for loss in losses)  # no NaN entered the averages


def test_too_many_non_finite_batches_in_a_row_stop_training_with_advice(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, max_nonfinite=3)
    with pytest.raises(NonFiniteError, match=r"3 steps in a row.*cut-2-1.*lower optim.base_lr"):
        fit(config, TinyTask(nan_loss=(2, 3, 6, 7, 8)))
    assert "NonFiniteError" in (tmp_path / "log.txt").read_text()


def test_running_out_of_memory_names_the_batch_and_what_to_lower(tmp_path: Path) -> None:
    class Hungry(TinyTask):
        def loss(self, model: Any, batch: Any, step: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RuntimeError, match=r"cut-1-0-0.*lower data.max_duration"):
        fit(tiny_config(tmp_path), Hungry())


class Hungry(TinyTask):
    """Memory runs out at step 2."""

    def loss(self, model: Any, batch: Any, step: Any) -> Any:
        if step.step == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().loss(model, batch, step)


def test_batch_without_memory_may_be_skipped_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny_config(tmp_path, max_steps=4, save_every=1, oom="skip"), Hungry())
    before, after = (stripped(tmp_path / f"checkpoint-{step}.pt") for step in (2, 3))
    assert torch.equal(before["model"]["first.weight"], after["model"]["first.weight"])
    assert after["state"]["skipped"] == 1
    assert "memory ran out (1 in a row); cuts: cut-1-2-0 cut-1-2-1" in caplog.text
    last = stripped(tmp_path / "checkpoint-4.pt")
    assert not torch.equal(last["model"]["first.weight"], after["model"]["first.weight"])


def test_scan_finds_out_before_training_and_changes_nothing(tmp_path: Path, straight: Path) -> None:
    class Large(TinyTask):
        def loss(self, model: Any, batch: Any, step: Any) -> Any:
            if batch.cut_ids[0] == "cut-1-2-0":  # what TinyLoader.largest gives
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().loss(model, batch, step)

    large = Large()
    with pytest.raises(RuntimeError, match=r"cut-1-2-0.*lower data.max_duration"):
        fit(tiny_config(tmp_path / "large", scan="yes"), large)
    assert large.steps == []
    fit(tiny_config(tmp_path / "fits", scan="yes"), TinyTask())
    scanned, plain = (stripped(d / "epoch-3.pt") for d in (tmp_path / "fits", straight))
    assert same(scanned["model"], plain["model"])
    assert same(scanned["optimizer"], plain["optimizer"])


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from training.runs import ROOT, records, run, same, start, stripped
from training.tiny_task import TinyTask, tiny_config
from zipformer.training.loop import fit

class Task(TinyTask):
    def loss(self, model, batch, step):
        limit = 20_000 if step.step in (6, 7) else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        return super().loss(model, batch, step)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is an OSError then
fit(tiny_config(Path(sys.argv[1]), save_every=4, max_steps=int(sys.argv[2])), Task(dim=64))
"""


@pytest.mark.parametrize(("max_steps", "ends_well"), [(9, True), (8, False)])
def test_full_disk_leaves_the_last_checkpoint_and_training_goes_on(
    tmp_path: Path, max_steps: int, ends_well: bool
) -> None:
    """Nothing can be written at the end of epoch 1 (step 7) and at step 8."""
    completed = run(FULL_DISK, str(tmp_path), str(max_steps))
    assert "Training goes on" in completed.stderr
    assert "checkpoints written before are intact" in completed.stderr
    assert (completed.returncode == 0) == ends_well, completed.stderr
    assert sorted(p.name for p in tmp_path.glob("*.pt*")) == (
        ["checkpoint-4.pt", "checkpoint-9.pt"] if ends_well else ["checkpoint-4.pt"]
    )
    fit(tiny_config(tmp_path, max_steps=12), TinyTask(dim=64))  # and it can be gone on from
