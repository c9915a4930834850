"""Several processes, one for each GPU: the same as one with all of their batches.

``torchrun -m zipformer.diagnosis.together FOLDER DEVICE`` is what each of them runs.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zipformer.checkpoint.files import load, step_path
from zipformer.config import RunConfig
from zipformer.data.batch import Batch
from zipformer.diagnosis.check import Found, Setting, Skip
from zipformer.diagnosis.tiny_runs import distance, judge, start_of, tiny_config, write_corpus
from zipformer.training.asr import AsrTask
from zipformer.training.distributed import Processes
from zipformer.training.loop import fit
from zipformer.training.methods.base import StepInfo
from zipformer.training.metrics import read_metrics

STEPS = 4
STARVED = 1  # the step in which memory runs out
TOO_MUCH = 2**50  # bytes; no device has a petabyte
SECONDS = 120.0  # for all processes, from start to end


class PlainTask(AsrTask):
    """Speech recognition without what adapts to the batches that a process happens to see."""

    def loss(
        self, model: nn.Module, batch: Batch, step: StepInfo
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the model as it decodes: no dropout, Balancer or Whiten."""
        model.eval()
        return super().loss(model, batch, step)


class StarvedTask(PlainTask):
    """In the last process memory runs out, in one step."""

    def loss(
        self, model: nn.Module, batch: Batch, step: StepInfo
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Asks for more than there can be, so that the error is a real one."""
        processes = Processes.from_environment()
        if step.step == STARVED and processes.rank == processes.world_size - 1:
            torch.empty(TOO_MUCH, dtype=torch.uint8, device=batch.features.device)
        return super().loss(model, batch, step)


def check_torchrun(setting: Setting) -> Found:
    """Trains with torchrun on all GPUs, and in one process that takes as many batches a step.

    With less than two GPUs there are two processes on the CPU. In one step memory runs out, which
    both leave out.

    Raises:
        ArithmeticError: If the weights are not the same.
        RuntimeError: If the processes fail.
    """
    device, count, note = _processes(setting)
    folder = _train_together(setting.subfolder("torchrun"), device, count)
    alone = _config(folder, "alone", device, accumulate=count)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each of the others had: the number changes rounding
    try:
        fit(alone, StarvedTask(alone))
    finally:
        torch.set_num_threads(threads)
    ours, theirs = (
        load(step_path(folder / name, STEPS))["model"] for name in ("together", "alone")
    )
    apart = distance(ours, theirs, start_of(alone))
    return judge(apart, device, f"{note}, {STEPS} steps")


def check_starving(setting: Setting) -> Found:
    """Looks at the step in which one of the processes ran out of memory (``train.oom = skip``).

    Raises:
        ArithmeticError: If not all have skipped it, and that alone.
        RuntimeError: If the processes fail.
    """
    device, count, note = _processes(setting)
    folder = _train_together(setting.subfolder("torchrun"), device, count) / "together"
    before, after, last = (
        load(step_path(folder, step))["model"] for step in (STARVED, STARVED + 1, STEPS)
    )
    record = [r for r in read_metrics(folder / "metrics.jsonl") if r["kind"] == "train"][-1]
    stayed = all(torch.equal(weight, after[name]) for name, weight in before.items())
    moved = any(not torch.equal(weight, last[name]) for name, weight in after.items())
    if (record["skipped"], record["step"]) != (1, STEPS) or not (stayed and moved):
        raise ArithmeticError(
            f"{record['skipped']} of {record['step']} steps were skipped, expected 1 of {STEPS}"
        )
    return Found(f"{note}: all skipped the step in which memory ran out in one, and went on")


def check_nccl(setting: Setting) -> Found:
    """Sums a tensor by NCCL in a group of one process, which needs no second GPU."""
    if not dist.is_nccl_available():
        raise Skip("this torch is built without NCCL: several GPUs cannot train together")
    device = torch.device("cuda", 0)
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1, device_id=device)
    try:
        x = torch.arange(1000.0, device=device)
        dist.all_reduce(x)
        total = x.sum().item()
    finally:
        dist.destroy_process_group()
    if total != 499_500.0:
        raise ArithmeticError(f"0 + ... + 999 is {total} after a sum over one process")
    return Found("a group of one process works")


def _processes(setting: Setting) -> tuple[str, int, str]:
    """The device, how many processes, and both in words."""
    gpus = torch.cuda.device_count() if setting.device == "cuda" else 0
    if gpus > 1:
        return "cuda", gpus, f"{gpus} GPUs by NCCL"
    return "cpu", 2, "2 processes by gloo on the CPU" + (", as there is one GPU" if gpus else "")


def _config(folder: Path, name: str, device: str, accumulate: int = 1) -> RunConfig:
    return tiny_config(
        folder,
        folder / name,
        device,
        max_steps=STEPS,
        accumulate=accumulate,
        save_every=1,
        oom="skip",
    )


@functools.cache  # two checks look at it
def _train_together(folder: Path, device: str, count: int) -> Path:
    """Runs this module under torchrun; returns the folder with the corpus and the run."""
    failed = folder / "failed"
    if failed.exists():
        raise Skip("torchrun has failed, see there")
    failed.touch()
    write_corpus(folder, cuts=20 * count)  # no epoch ends within these steps
    package = Path(__file__).resolve().parents[2]
    paths = [str(package), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={count}", "-m", __name__, str(folder), device]
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        printed, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun passes it on
        printed, _ = process.communicate()
        printed = f"It was stopped after {SECONDS:.0f} s.\n{printed}"
    if process.returncode:
        status = process.returncode
        raise RuntimeError(f"torchrun ended with exit status {status} and said:\n{printed}")
    failed.unlink()
    return folder


def main(folder: Path, device: str) -> None:
    """What each process does: a run like any other, in which memory runs out once."""
    config = _config(folder, "together", device)
    fit(config, StarvedTask(config))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
