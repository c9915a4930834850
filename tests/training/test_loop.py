"""Laws of the loop, with a task of a few numbers."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training.tiny_task import TinyTask, tiny_config

from zipformer.config import OptimConfig
from zipformer.context import Context
from zipformer.data.sampler import Share
from zipformer.nn.baselines.config import ConformerConfig
from zipformer.optim import Eden, ScaledAdam
from zipformer.training import checkpoint
from zipformer.training.distributed import Processes
from zipformer.training.loop import fit
from zipformer.training.metrics import read_metrics
from zipformer.training.step import NonFiniteError

TIMING = ("hours_per_hour", "eta_seconds", "done", "memory_mb")
ROOT = Path(__file__).parents[2]


def same(a: Any, b: Any) -> bool:
    """Whether two checkpoints hold the same, bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def stripped(path: Path) -> dict[str, Any]:
    """A checkpoint without what may differ between two starts."""
    content = checkpoint.load(path)
    del content["clock"]
    for key in ("exp_dir", "max_steps", "num_epochs"):
        del content["config"]["train"][key]
    return content


def records(exp_dir: Path) -> list[dict[str, Any]]:
    """Metrics without what depends on the clock."""
    found = read_metrics(exp_dir / "metrics.jsonl")
    return [{k: v for k, v in record.items() if k not in TIMING} for record in found]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted: 21 steps."""
    return fit(tiny_config(tmp_path_factory.mktemp("straight")), TinyTask())


@pytest.mark.parametrize("stop_at", [3, 5, 6, 7, 11, 14, 20])
def test_stopped_and_resumed_run_equals_straight_run(
    tmp_path: Path, straight: Path, stop_at: int
) -> None:
    fit(tiny_config(tmp_path, max_steps=stop_at), TinyTask())
    assert checkpoint.steps_in(tmp_path)[-1] == stop_at
    fit(tiny_config(tmp_path), TinyTask())
    for epoch in (1, 2, 3):
        name = f"epoch-{epoch}.pt"
        if epoch == 3 or epoch > stop_at // 7:
            assert same(stripped(tmp_path / name)["model"], stripped(straight / name)["model"])
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt")
    assert same(ours["optimizer"], theirs["optimizer"])
    assert same(ours["average"], theirs["average"])
    assert same(ours["scheduler"], theirs["scheduler"])
    assert same(ours["state"], theirs["state"])
    ours_train = [r for r in records(tmp_path) if r["kind"] == "train"]
    assert ours_train == [r for r in records(straight) if r["kind"] == "train"]


def test_two_runs_are_equal_bit_for_bit(tmp_path: Path, straight: Path) -> None:
    fit(tiny_config(tmp_path), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
    assert records(tmp_path) == records(straight)


def test_another_seed_gives_another_run(tmp_path: Path, straight: Path) -> None:
    fit(tiny_config(tmp_path, seed=7), TinyTask())
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt")
    assert not same(ours["model"], theirs["model"])


def test_validation_does_not_change_training(tmp_path: Path, straight: Path) -> None:
    fit(tiny_config(tmp_path, valid_every=1), TinyTask())
    ours, theirs = stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt")
    assert same(ours["model"], theirs["model"])


def test_run_killed_without_warning_resumes_from_the_last_checkpoint(
    tmp_path: Path, straight: Path
) -> None:
    completed = start(tmp_path, kill=10, signal_number=int(signal.SIGKILL))
    assert completed.returncode == -signal.SIGKILL
    assert checkpoint.newest(tmp_path) == tmp_path / "epoch-1.pt"  # step 7; it died at 10
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "st')  # and left a torn line
    fit(tiny_config(tmp_path), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
    assert records(tmp_path) == records(straight)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_signal_finishes_the_step_saves_and_exits_0(
    tmp_path: Path, straight: Path, name: str
) -> None:
    task = {"kill": 9, "signal_number": int(getattr(signal, name))}
    if name == "SIGTERM":
        completed = start(tmp_path, **task)
        assert completed.returncode == 0, completed.stderr
    else:  # in this process, which takes less time
        fit(tiny_config(tmp_path), TinyTask(**task))
    assert f"stopped by {name} and saved; the same command" in (tmp_path / "log.txt").read_text()
    assert checkpoint.steps_in(tmp_path)[-1] == 10  # the step that was running is in it
    fit(tiny_config(tmp_path), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
    assert records(tmp_path) == records(straight)


def test_signal_during_validation_saves_at_once(
    tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validate(self: TinyTask, model: torch.nn.Module, processes: Processes) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal should have ended this")

    with monkeypatch.context() as patch:
        patch.setattr(TinyTask, "validate", validate)
        fit(tiny_config(tmp_path), TinyTask())
    assert checkpoint.newest(tmp_path) == tmp_path / "checkpoint-5.pt"
    fit(tiny_config(tmp_path), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))
    assert records(tmp_path) == records(straight)


def test_handlers_of_signals_are_put_back(straight: Path) -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_finished_run_says_so_and_changes_nothing(
    tmp_path: Path, straight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(straight, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "epoch-3.pt").read_bytes()
    task = TinyTask()
    with caplog.at_level(logging.INFO, "zipformer"):
        fit(tiny_config(tmp_path), task)
    assert "finished. To go on, raise train.num_epochs (3)" in caplog.text
    assert task.steps == []
    assert (tmp_path / "epoch-3.pt").read_bytes() == before
    assert records(tmp_path) == records(straight)


def test_new_run_begins_with_the_weights_of_another_and_goes_on_with_its_own(
    tmp_path: Path, straight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = straight / "epoch-3.pt"
    zero = OptimConfig(base_lr=0.0)
    config = replace(tiny_config(tmp_path, init_from=source, max_steps=2), optim=zero)
    fit(config, TinyTask())
    theirs = stripped(source)["model"]["first.weight"]
    assert torch.equal(stripped(tmp_path / "checkpoint-2.pt")["model"]["first.weight"], theirs)
    assert f"weights of {source}" in caplog.text
    caplog.clear()
    fit(tiny_config(tmp_path, init_from=source, max_steps=4), TinyTask())
    assert "weights of" not in caplog.text and "going on from" in caplog.text


def test_more_epochs_may_be_asked_for_later(tmp_path: Path, straight: Path) -> None:
    fit(tiny_config(tmp_path, num_epochs=2), TinyTask())
    fit(tiny_config(tmp_path, num_epochs=3), TinyTask())
    assert same(stripped(tmp_path / "epoch-3.pt"), stripped(straight / "epoch-3.pt"))


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


def test_epoch_without_batches_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no batch.*data.train"):
        fit(tiny_config(tmp_path), TinyTask(batches_per_epoch=0))


def test_changed_setting_is_warned_of_on_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    config = replace(tiny_config(tmp_path), optim=OptimConfig(base_lr=0.01))
    fit(config, TinyTask())
    assert "optim.base_lr: 0.045 -> 0.01" in caplog.text
    assert "max_steps:" not in caplog.text


def test_changed_architecture_is_refused_on_resume(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    config = tiny_config(tmp_path)
    config = replace(config, encoder=replace(config.encoder, pos_dim=24))
    with pytest.raises(ValueError, match="another architecture: encoder.pos_dim: 48 -> 24"):
        fit(config, TinyTask())


def test_another_kind_of_encoder_is_refused_on_resume(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    config = replace(tiny_config(tmp_path), encoder=ConformerConfig())
    with pytest.raises(ValueError, match="encoder.kind: zipformer -> conformer"):
        fit(config, TinyTask())


def test_keys_that_a_checkpoint_is_older_than_have_their_defaults_on_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    path = checkpoint.newest(tmp_path)
    assert path is not None
    content = checkpoint.load(path)
    for section, key in (
        ("model", "transducer"),
        ("model", "aed_dim"),
        ("loss", "aed_scale"),
        ("encoder", "kind"),
        ("optim", "warmup_start"),
    ):
        del content["config"][section][key]
    checkpoint.save(path, content)
    fit(tiny_config(tmp_path, max_steps=3), TinyTask())
    assert "going on from" in caplog.text and "config has changed" not in caplog.text
    config = tiny_config(tmp_path)
    config = replace(config, model=replace(config.model, aed_dim=256))
    with pytest.raises(ValueError, match="another architecture: model.aed_dim: 512 -> 256"):
        fit(config, TinyTask())


def test_checkpoint_of_another_shape_is_refused_on_resume(tmp_path: Path) -> None:
    fit(tiny_config(tmp_path, max_steps=2), TinyTask())
    with pytest.raises(ValueError, match=r"first.weight: \(8, 4\) in the checkpoint, \(6, 4\) in"):
        fit(tiny_config(tmp_path), TinyTask(dim=6))


def test_changed_file_of_the_model_is_refused_on_resume(tmp_path: Path) -> None:
    source = tmp_path / "tokens.txt"
    source.write_text("a b c")
    exp_dir = tmp_path / "exp"
    fit(tiny_config(exp_dir, max_steps=2), TinyTask(extra_files={"tokens.txt": source}))
    assert (exp_dir / "tokens.txt").read_text() == "a b c"
    source.write_text("b a c")
    with pytest.raises(ValueError, match="tokens.txt has changed"):
        fit(tiny_config(exp_dir), TinyTask(extra_files={"tokens.txt": source}))
    assert (exp_dir / "tokens.txt").read_text() == "a b c"


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


def test_checkpoints_are_also_written_by_the_clock(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, max_steps=3, save_every=0, valid_every=0, save_minutes=1e-9)
    fit(config, TinyTask())
    assert checkpoint.steps_in(tmp_path) == [1, 2, 3]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
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


def start(exp_dir: Path, **task: Any) -> subprocess.CompletedProcess[str]:
    """Runs ``fit`` with a ``TinyTask`` in a process of its own."""
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from training.tiny_task import TinyTask, tiny_config\n"
        "from zipformer.training.loop import fit\n"
        "fit(tiny_config(Path(sys.argv[1])), TinyTask(**json.loads(sys.argv[2])))"
    )
    return run(code, str(exp_dir), json.dumps(task))


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own."""
    paths = [str(ROOT), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
