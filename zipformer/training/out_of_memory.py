"""Running out of memory: how it shows, and what to say."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zipformer.training.task import TrainingBatch

# What libraries say in errors that have no type of their own. Some of them ask for memory beside
# torch's allocator, which holds all of it by then.
_MESSAGES = (
    "out of memory",  # the CUDA runtime and driver, Triton, NCCL
    "can't allocate memory",  # torch on a CPU
    "not enough memory",  # the same on Windows
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # no room for its workspace
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",  # cuDNN from version 9 on
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, in any of the forms that this takes."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(m in str(error) for m in _MESSAGES)


def out_of_memory_advice(batch: TrainingBatch | None, cut_ids: Sequence[str]) -> str:
    """What did not fit, and what to lower.

    Args:
        batch: That memory did not suffice for; None if it was another process's.
        cut_ids: The cuts in it.
    """
    what = f"a batch of {len(cut_ids)} cuts"
    if batch is not None:
        what += f", {batch.seconds:.1f} s of audio"
    lower = "lower data.max_duration, or data.max_seconds if single cuts are too long"
    if len(cut_ids) == 1:
        what = f"a batch of a single cut{what.partition('cuts')[2]}"
        lower = (
            "no smaller batch is possible: lower data.max_seconds, which leaves out longer cuts, "
            "or context.max_window_ratio, or take a smaller encoder"
        )
    return (
        f"out of memory on {what} ({', '.join(cut_ids[:10])}): {lower}, and run the same command "
        "again; it goes on from the last checkpoint. train.oom = skip leaves such batches out "
        "instead"
    )
