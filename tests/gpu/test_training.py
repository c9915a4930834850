"""What training does on a device: run on the CPU everywhere, and with ``-m gpu`` on a GPU."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from gpu.ranks import sum_gradients
from torch import Tensor
from training.tiny_task import TinyTask
from training.together import run_together

from zipformer.data.batch import Batch
from zipformer.data.sampler import Share
from zipformer.diagnosis.check import Setting
from zipformer.diagnosis.operations import check_operations
from zipformer.diagnosis.speech import TINY, random_batch
from zipformer.diagnosis.steps import Format, Trainer, check_step
from zipformer.diagnosis.tiny_runs import check_resume
from zipformer.diagnosis.together import check_nccl
from zipformer.diagnosis.waiting import check_waits
from zipformer.optim import ScaledAdam
from zipformer.training.asr import AsrTask
from zipformer.training.distributed import Processes
from zipformer.training.methods.base import StepInfo
from zipformer.training.precision import Precision
from zipformer.training.scan import scan
from zipformer.training.step import NOT_FINITE, OUT_OF_MEMORY, Updater

Device = Literal["cpu", "cuda"]
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])


@pytest.mark.gpu
def test_auto_is_bfloat16_where_the_card_computes_it() -> None:
    precision = Precision("cuda", "auto")
    computes_bf16 = torch.cuda.get_device_capability(precision.device) >= (8, 0)
    assert precision.name == ("bf16" if computes_bf16 else "fp16")
    x = torch.randn(64, 64, device=precision.device)
    with precision.autocast():
        assert (x @ x).dtype == (torch.bfloat16 if computes_bf16 else torch.float16)


@DEVICES
@pytest.mark.parametrize("kind", ["nan_loss", "nan_grad"])
def test_what_is_not_finite_is_left_out_and_halves_the_scale(kind: str, device: Device) -> None:
    precision = Precision(device, "fp16", slow_fp16=True)
    precision.scaler.scale(torch.ones((), device=precision.device))
    precision.scaler.update(64.0)
    task = TinyTask(**{kind: (0,)})
    model = task.build_model().to(precision.device).train()
    optimizer = ScaledAdam(list(model.named_parameters()), lr=0.03)
    update = Updater(task, model, optimizer, precision, Processes(), Share())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch = task.build_loader(Share()).batch(1, 0).to(precision.device)
    result = update([batch], 0)
    assert result.why == NOT_FINITE and precision.scaler.get_scale() == 32.0
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert update([batch], 1).updated and precision.scaler.get_scale() == 32.0
    assert not torch.equal(model.second.weight, before["second.weight"])


@DEVICES
@pytest.mark.slow
def test_gradients_are_summed_over_the_processes(tmp_path: Path, device: Device) -> None:
    """By NCCL over all GPUs, one being enough; by gloo over two processes."""
    count = 2 if device == "cpu" else torch.cuda.device_count()
    run_together(sum_gradients, count, tmp_path, device)
    for rank in range(count):
        both, last = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(both, torch.full((3, 2), count * (count + 1) / 2))
        assert torch.equal(last, torch.ones(5))


@DEVICES
def test_a_batch_arrives_as_it_was(device: Device) -> None:
    batch = random_batch([2.0, 1.3, 0.7], 80, 50, seed=1)
    batch.second = batch.features.roll(1, dims=2)
    sent = batch.pin_memory() if device == "cuda" else batch
    arrived = sent.to(torch.device(device))
    for name in (f.name for f in fields(Batch)):
        found, wanted = getattr(arrived, name), getattr(batch, name)
        if isinstance(wanted, Tensor):
            assert found.device.type == device and torch.equal(found.cpu(), wanted), name
        else:
            assert found == wanted, name


@DEVICES
@pytest.mark.slow
def test_a_stopped_and_resumed_run_is_a_straight_one(tmp_path: Path, device: Device) -> None:
    check_resume(Setting(device, tmp_path))


def trainer_of(folder: Path, device: Device, task: type[AsrTask] = AsrTask) -> Trainer:
    trainer = Trainer(folder, device, "fp32", TINY, vocab_size=60)
    trainer.task = trainer.update.task = task(trainer.config)
    return trainer


@DEVICES
def test_scan_leaves_no_trace(tmp_path: Path, device: Device) -> None:
    trainer = trainer_of(tmp_path, device)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    whitening = trainer.update.whitening.state_dict()
    scan(trainer.update, [random_batch([1.5, 1.0], 80, 60, seed) for seed in (1, 2)])
    assert trainer.update.whitening.state_dict() == whitening
    assert all(p.grad is None for p in trainer.model.parameters())
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]), name


class Hungry(AsrTask):
    """Asks for a petabyte in the first step after the warm-up, and in a scan."""

    def loss(self, model: Any, batch: Any, step: StepInfo) -> tuple[Tensor, dict[str, Tensor]]:
        if step.step in (0, self.config.loss.warm_steps):
            torch.empty(2**50, dtype=torch.uint8, device=batch.features.device)
        return super().loss(model, batch, step)


@DEVICES
def test_memory_that_runs_out_is_named_or_skipped(tmp_path: Path, device: Device) -> None:
    trainer = trainer_of(tmp_path, device, Hungry)
    batch = trainer.batch([1.5, 1.0])
    named = r"out of memory on a batch of 2 cuts, 2\.5 s.*utterance-0.*lower data\.max_duration"
    with pytest.raises(RuntimeError, match=named):
        scan(trainer.update, [batch])
    with pytest.raises(RuntimeError, match=named):
        trainer.update([batch], trainer.number)
    trainer.update.oom = "skip"
    before = [p.detach().clone() for p in trainer.model.parameters()]
    result = trainer.update([batch], trainer.number)
    assert result.why == OUT_OF_MEMORY and result.cut_ids == ("utterance-0", "utterance-1")
    after = list(trainer.model.parameters())
    assert all(torch.equal(p, old) for p, old in zip(after, before, strict=True))
    assert trainer.update([batch], trainer.number + 1).updated


@pytest.mark.gpu
def test_kernels_give_the_numbers_of_the_formulas(tmp_path: Path) -> None:
    check_operations(Setting("cuda", tmp_path))


@pytest.mark.gpu
@pytest.mark.parametrize("format", ["fp32", "bf16", "fp16"])
def test_a_step_is_that_of_a_cpu(tmp_path: Path, format: Format) -> None:
    check_step(Setting("cuda", tmp_path), format)


@pytest.mark.gpu
def test_nccl_is_there(tmp_path: Path) -> None:
    assert check_nccl(Setting("cuda", tmp_path)).note


@pytest.mark.gpu
def test_a_step_waits_where_it_is_marked_alone(tmp_path: Path) -> None:
    check_waits(Setting("cuda", tmp_path))
