"""The processes of a run: one by itself, or those that torchrun or ``launch`` started.

Gradients are summed over the processes in one go after the backward pass, not by
``DistributedDataParallel`` during it. So a process knows of a batch that failed elsewhere before it
waits for gradients that would never come, gradients may be accumulated over several batches, and a
parameter that a batch does not use needs no special care. Sums, not means: two processes with a
batch each are one process with both, to the last bit if that one accumulates them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from zipformer.data.sampler import Share
from zipformer.training.heartbeat import Heartbeat

T = TypeVar("T")

BUCKET_BYTES = 64 * 2**20  # gradients that travel together
LOCALHOST = "127.0.0.1"
TIMEOUT = timedelta(minutes=30)  # of a process that others wait for: the longest is a slow disk
# Two runs of torchrun's processes, one after another, must not find each other's addresses.
_meetings = count()


@dataclass(frozen=True)
class Processes:
    """Who takes part, and what they agree on.

    All methods must be called by every process, in the same order. With one process they cost
    nothing.

    Args:
        rank: Of this process, from 0.
        world_size: How many there are.
        local_rank: Of this process on its machine; the number of its CUDA device.
        port: On this machine, of the store that ``launch`` keeps for its processes; 0 for those of
            torchrun, who says by itself where its store is.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    port: int = 0

    @classmethod
    def from_environment(cls) -> Processes:
        """As torchrun says; a single process without it."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        rank, world_size, local_rank = (
            int(os.environ.get(name, default)) for name, default in zip(names, "010", strict=True)
        )
        return cls(rank, world_size, local_rank)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files that there is one of."""
        return self.rank == 0

    def share(self, accumulate: int) -> Share:
        """Which of a step's batches are this process's.

        The processes that ``launch`` started share the ``train.accumulate`` batches of one process;
        torchrun's take so many each.
        """
        each = accumulate // self.world_size if self.port else accumulate
        return Share(self.rank, self.world_size, each)

    @contextmanager
    def connected(self, device: torch.device) -> Iterator[None]:
        """Opens the connections between the processes, and closes them.

        Args:
            device: Of this process: gradients travel by NCCL from CUDA devices, else by gloo.

        Raises:
            ProcessLostError: If a collective fails because another process is gone, naming that. A
                process that hangs in a collective ends (see ``Heartbeat``).
        """
        if self.world_size == 1:
            yield
            return
        on_cuda = device.type == "cuda"
        if on_cuda:
            torch.cuda.set_device(device)
        # ``launch`` opens a store for each run, in which its new processes have met nobody yet.
        meeting = 0 if self.port else next(_meetings)
        store = dist.PrefixStore(f"meeting {meeting}", self._store())
        beats = dist.PrefixStore(f"meeting {meeting}", self._store())
        heartbeat = Heartbeat(beats, self.rank, self.world_size)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_cuda else "gloo",
            store=store,
            rank=self.rank,
            world_size=self.world_size,
            timeout=TIMEOUT,
        )
        try:
            with heartbeat:
                yield
        finally:
            dist.destroy_process_group()

    def _store(self) -> dist.Store:
        """Where the processes find each other's addresses.

        torchrun keeps one store over its restarts, in which the addresses of dead processes may be
        read before the new ones are there (pytorch/pytorch issue 135712). On one machine all
        processes know the number of the restart, which keeps them apart. On several they may not:
        there TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 makes torchrun open a new store each time.
        """
        if self.port:
            return dist.TCPStore(LOCALHOST, self.port, is_master=False, timeout=TIMEOUT)
        store, _, _ = next(rendezvous("env://", self.rank, self.world_size, timeout=TIMEOUT))
        machines = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if machines == 1 else "any"
        return dist.PrefixStore(f"zipformer/{restart}", store)

    def sum(self, *values: float) -> list[float]:
        """Sums over the processes, float64, through the CPU."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag, whether it is set in any process."""
        return [total > 0 for total in self.sum(*map(float, flags))]

    def gather(self, value: T) -> list[T]:
        """The plain values of all processes, by rank."""
        if self.world_size == 1:
            return [value]
        values = [value] * self.world_size  # to be filled in
        dist.all_gather_object(values, value)
        return values

    def share_weights(self, model: nn.Module) -> None:
        """Gives all processes the weights and buffers of rank 0."""
        if self.world_size > 1:
            for value in model.state_dict().values():
                dist.broadcast(value, src=0)

    def sum_gradients(self, model: nn.Module) -> None:
        """Replaces every gradient by its sum over the processes."""
        if self.world_size == 1:
            return
        grads = []
        for p in model.parameters():
            if p.requires_grad:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad  # used elsewhere, maybe
                grads.append(p.grad)
        for bucket in _buckets(grads):
            flat = torch.cat([grad.reshape(-1) for grad in bucket])
            dist.all_reduce(flat)
            parts = flat.split([grad.numel() for grad in bucket])
            for grad, part in zip(bucket, parts, strict=True):
                grad.copy_(part.view_as(grad))


def _buckets(grads: Iterable[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Neighbours of one type, about ``BUCKET_BYTES`` together."""
    bucket: list[Tensor] = []
    size = 0
    for grad in grads:
        if bucket and (grad.dtype != bucket[0].dtype or size + grad.nbytes > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(grad)
        size += grad.nbytes
    if bucket:
        yield bucket
