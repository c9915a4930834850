"""GPUs that do not suffice for the processes are counted before NCCL is asked."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from training.tiny_task import TinyTask, tiny_config

from zipformer.training.distributed import Processes
from zipformer.training.gpus import check_gpus, tell_of_idle_gpus
from zipformer.training.loop import fit


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_more_processes_than_gpus_are_refused_in_all_of_them(
    two_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    wanted = r"3 processes .* torch finds 2 GPUs .*torchrun --nproc-per-node 2,"
    with pytest.raises(ValueError, match=wanted):
        fit(tiny_config(tmp_path / "exp", device="auto"), TinyTask(), Processes(rank, 3, rank))
    assert not (tmp_path / "exp").exists()


def test_as_many_processes_as_gpus_on_each_of_several_machines_are_fine(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    for rank in range(8):
        check_gpus("auto", Processes(rank, 8, rank % 2))
    monkeypatch.delenv("LOCAL_WORLD_SIZE")  # without torchrun the number in the row must do
    check_gpus("cuda", Processes(1, 3, 1))
    with pytest.raises(ValueError, match="3 processes"):
        check_gpus("cuda", Processes(2, 3, 2))


def test_gpus_without_nccl_are_refused_where_there_are_several_processes(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "is_nccl_available", lambda: False)
    with pytest.raises(ValueError, match=r"without NCCL.* or train on one GPU without torchrun"):
        check_gpus("cuda", Processes(0, 2, 0))
    check_gpus("cuda", Processes())


def test_on_a_cpu_gpus_do_not_count(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_nccl_available", lambda: False)
    check_gpus("cpu", Processes(4, 5, 4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_gpus("auto", Processes(4, 5, 4))


def test_idle_gpus_are_told_of(two_gpus: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zipformer")
    tell_of_idle_gpus(torch.device("cpu"), Processes())
    tell_of_idle_gpus(torch.device("cuda", 0), Processes(0, 2, 0))
    assert caplog.messages == []
    tell_of_idle_gpus(torch.device("cuda", 0), Processes())
    assert "one of 2 GPUs: torchrun --nproc-per-node 2 takes all" in caplog.text
