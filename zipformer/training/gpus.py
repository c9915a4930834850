"""Whether the GPUs of a machine suffice for its processes, and whether some stay idle.

Both are looked at before anything else: NCCL would hang, or say it in its own words.
"""

from __future__ import annotations

import logging
import os
from typing import Literal

import torch
import torch.distributed as dist

from zipformer.training.distributed import Processes

logger = logging.getLogger(__name__)


def check_gpus(device: Literal["auto", "cpu", "cuda"], processes: Processes) -> None:
    """Refuses several processes where not each can have a GPU of its own, or NCCL is missing.

    Args:
        device: As in ``train.device``.
        processes: That train together.

    Raises:
        ValueError: Saying how many processes to start, or what to install.
    """
    if processes.world_size == 1 or device == "cpu" or not torch.cuda.is_available():
        return
    found = torch.cuda.device_count()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", processes.local_rank + 1))
    if local > found:
        raise ValueError(
            f"{local} processes were started on this machine, and torch finds {found} GPU"
            f"{'s' * (found != 1)} (CUDA_VISIBLE_DEVICES may hide others): each needs one of its "
            f"own. Start torchrun --nproc-per-node {found}, and with train.accumulate higher by "
            "the same factor a step stays as it is"
        )
    if not dist.is_nccl_available():
        raise ValueError(
            f"the installed torch {torch.__version__} was built without NCCL, by which gradients "
            "travel between GPUs: install a build for Linux and CUDA, which has it, or train on "
            f"one GPU without torchrun, where train.accumulate x {processes.world_size} makes "
            "steps as large"
        )


def tell_of_idle_gpus(device: torch.device, processes: Processes) -> None:
    """Logs how to use all GPUs, where one process has several before it."""
    if device.type != "cuda" or processes.world_size > 1:
        return
    found = torch.cuda.device_count()
    if found > 1:
        logger.info(
            "one process trains on one of %d GPUs: torchrun --nproc-per-node %d takes all",
            found,
            found,
        )
