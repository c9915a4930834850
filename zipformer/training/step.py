"""One training step: loss, gradients, and an update if all of it is finite."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zipformer.training.task import StepInfo, Task


class Precision:
    """Device and number format of a run.

    Args:
        device: ``auto`` takes CUDA where there is one.
        precision: ``fp32``, or ``bf16`` / ``fp16`` for autocast with float32 weights; ``auto`` is
            float32 on a CPU, and on CUDA bfloat16 where the card knows it, else float16.

    Raises:
        ValueError: If the machine cannot do what is asked for.
    """

    def __init__(
        self,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    ) -> None:
        has_cuda = torch.cuda.is_available()
        if device == "cuda" and not has_cuda:
            raise ValueError("train.device = cuda, but torch finds no CUDA device; use auto or cpu")
        on_cuda = device != "cpu" and has_cuda
        self.device = torch.device("cuda" if on_cuda else "cpu")
        if precision == "auto":
            best = "bf16" if on_cuda and torch.cuda.is_bf16_supported() else "fp16"
            self.name = best if on_cuda else "fp32"
        else:
            self.name = str(precision)
        if self.name == "fp16" and not on_cuda:
            raise ValueError(
                "train.precision = fp16 needs a CUDA device; use fp32 or bf16 on a CPU"
            )
        # The losses are sums over a batch, so they are large: start without scaling them up.
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=1.0, growth_interval=500, enabled=self.name == "fp16"
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """The context to run forward passes in."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Args:
        updated: False if the batch was skipped because something was not finite.
        info: Sums over the batch, scalars on the device (see ``Task.loss``).
        grad_norm: Norm of all gradients before clipping, a scalar on the device.
    """

    updated: bool
    info: dict[str, Tensor]
    grad_norm: Tensor


def train_step(
    task: Task,
    model: nn.Module,
    optimizer: Optimizer,
    batch: Any,
    step: StepInfo,
    precision: Precision,
) -> StepResult:
    """Learns from one batch; leaves the model untouched if loss or gradients are not finite.

    Raises:
        RuntimeError: If memory runs out, naming the batch and the setting to lower.
    """
    optimizer.zero_grad(set_to_none=True)
    try:
        with precision.autocast():
            loss, info = task.loss(model, batch, step)
        precision.scaler.scale(loss).backward()
    except RuntimeError as error:
        if _is_out_of_memory(error):
            raise RuntimeError(_out_of_memory_advice(batch)) from error
        raise
    precision.scaler.unscale_(optimizer)
    # An infinite limit clips nothing: this only measures.
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
    # Both are looked at once, after the backward pass, so that there is one wait for the device.
    updated = bool((torch.isfinite(loss) & torch.isfinite(grad_norm)).item())
    if updated:
        optimizer.step()
    if precision.scaler.is_enabled():
        precision.scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(updated, info, grad_norm)


class NonFiniteError(RuntimeError):
    """Too many batches in a row gave a loss or gradients that are not finite."""

    def __init__(self, in_row: int, cut_ids: list[str], lr: float, precision: str) -> None:
        cuts = ", ".join(cut_ids[:10])
        super().__init__(
            f"{in_row} batches in a row had a loss or gradients that are not finite "
            f"(learning rate {lr:.3g}, precision {precision}; last batch: {cuts}). "
            "The weights in the last checkpoint are good. Lower optim.base_lr (by a third, say) or "
            "raise optim.warmup_batches, use train.precision = bf16 or fp32 instead of fp16, look "
            "at the cuts named in log.txt, then run the same command again. "
            "train.max_nonfinite sets how many are borne."
        )


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _out_of_memory_advice(batch: Any) -> str:
    cuts = ", ".join(batch.cut_ids[:10])
    return (
        f"out of memory on a batch of {len(batch.cut_ids)} cuts, {batch.seconds:.1f} s of audio "
        f"({cuts}): lower data.max_duration, or data.max_seconds if single cuts are too long, and "
        "run the same command again; it goes on from the last checkpoint"
    )
