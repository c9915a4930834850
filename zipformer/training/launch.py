"""Several processes on one CPU, without torchrun: each computes some of a step's batches.

A step of many small operations does not keep several cores busy within one process; several
processes of fewer threads do. What a step holds, and so what a run learns, does not depend on how
many there are. The process that the user started is the first of them: it gets the signals, writes
the files and reports errors. It starts the others and ends them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from zipformer.config import RunConfig, TrainConfig
from zipformer.training.console import log_name
from zipformer.training.distributed import LOCALHOST, Processes
from zipformer.training.loop import fit
from zipformer.training.lost import ProcessLostError, end_unless
from zipformer.training.task import Task

# Seconds that the others have to end when the first process has ended.
PATIENCE = 30.0
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of work, and in how many


def train(config: RunConfig, task: Task | None = None) -> Path:
    """``fit``, in as many processes as ``train.processes`` asks for.

    Args:
        config: The resolved config of the run.
        task: As for ``fit``; if given, it must be one that can be pickled.

    Returns:
        The run's folder.

    Raises:
        ValueError: If ``train.processes`` does not fit the device or torchrun, and as ``fit`` does.
        ProcessLostError: If another process is gone, naming it.
    """
    count = number_of_processes(config.train)
    if count == 1:
        return fit(config, task)
    # torch's own choice, one thread for each core or OMP_NUM_THREADS, is never exceeded.
    threads = max(1, min(torch.get_num_threads(), usable_cores() // count))
    torch.set_num_threads(threads)
    store = dist.TCPStore(LOCALHOST, 0, is_master=True, wait_for_workers=False)
    with _others(config, task, count, store.port, threads):
        return fit(config, task, Processes(0, count, 0, store.port))


def number_of_processes(settings: TrainConfig) -> int:
    """How many processes this one is to train with, itself included.

    On a CPU without torchrun, ``auto`` is the largest number that divides ``train.accumulate``, at
    most one for each core. On CUDA and under torchrun it is one.

    Raises:
        ValueError: If another number is asked for there.
    """
    wanted = settings.processes
    by_torchrun = "WORLD_SIZE" in os.environ
    if by_torchrun or (settings.device != "cpu" and torch.cuda.is_available()):
        if wanted not in ("auto", 1):
            where = "torchrun starts the processes" if by_torchrun else "this run is on a GPU"
            raise ValueError(
                f"train.processes = {wanted} is for a run on a CPU that torchrun does not start, "
                f"and {where}: set train.processes = auto (torchrun --nproc-per-node takes the "
                "number of GPUs)"
            )
        return 1
    if wanted != "auto":
        return wanted
    most = min(usable_cores(), settings.accumulate)
    return max(n for n in range(1, most + 1) if settings.accumulate % n == 0)


def usable_cores() -> int:
    """The cores that this process may use: those it is bound to, within a container's quota."""
    bound = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1
    try:
        work, period = QUOTA.read_text(encoding="ascii").split()
        cores = min(cores, int(work) // int(period))
    except (OSError, ValueError):  # no quota: no such file, or "max 100000"
        pass
    return max(cores, 1)


@contextmanager
def _others(
    config: RunConfig, task: Task | None, count: int, port: int, threads: int
) -> Iterator[None]:
    """Starts the other processes, and ends them if they do not end by themselves."""
    started = mp.start_processes(
        _enter,
        (config, task, count, port, threads, multiprocessing.get_start_method()),
        nprocs=count - 1,
        join=False,
        start_method="spawn",
    )
    watch = _Watch(started.processes)
    patience = PATIENCE
    try:
        yield
    except KeyboardInterrupt:
        patience = 0.0
        raise
    except ProcessLostError as error:
        raise ProcessLostError(watch.killed or str(error)) from None
    finally:
        watch.main_left.set()
        watch.join(min(patience, 1.0))
        for process in started.processes:
            process.terminate()  # ends a validation; does nothing to one that has ended
        watch.join(patience)
        for process in started.processes:
            process.kill()


class _Watch(threading.Thread):
    """Waits for the ends of the other processes, so that one that dies early does not go unseen.

    Attributes:
        main_left: To be set when the main thread does not need them any more.
        killed: Which one was killed, and by what; empty if none was.
    """

    def __init__(self, processes: Sequence[BaseProcess]) -> None:
        super().__init__(daemon=True)
        self.running = {p.sentinel: (rank, p) for rank, p in enumerate(processes, start=1)}
        self.main_left = threading.Event()
        self.killed = ""
        self.start()

    def run(self) -> None:
        """Ends when they all have ended."""
        while self.running:
            for sentinel in wait(list(self.running)):
                assert isinstance(sentinel, int)
                rank, process = self.running.pop(sentinel)
                process.join()
                status = process.exitcode or 0
                name = f"process {rank} (pid {process.pid})"
                if status < 0:
                    self.killed = self.killed or f"{name} was ended by {_signal(-status)}"
                if status:
                    why = self.killed or f"{name} failed ({log_name(rank)} may have more)"
                    end_unless(self.main_left, why)


def _signal(number: int) -> str:
    name = signal.Signals(number).name
    return f"{name}, as the system does when memory runs out" if name == "SIGKILL" else name


def _enter(
    index: int,
    config: RunConfig,
    task: Task | None,
    count: int,
    port: int,
    threads: int,
    start_method: str,
) -> None:
    """What the others run; ``index`` counts them from 0."""
    rank = index + 1
    # Workers of the loader begin as in the first process; else as this process was begun, slowly.
    multiprocessing.set_start_method(start_method, force=True)
    left = threading.Event()
    threading.Thread(target=_end_with_parent, args=(left,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        fit(config, task, Processes(rank, count, rank, port))
    finally:
        left.set()


def _end_with_parent(left: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    end_unless(left, "process 0, which started this one, is gone")
