"""One training step: context, loss, gradients, and an update if all of it is finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zipformer import waits
from zipformer.data.sampler import Share
from zipformer.training.distributed import Processes
from zipformer.training.methods.base import StepInfo
from zipformer.training.out_of_memory import is_out_of_memory, out_of_memory_advice
from zipformer.training.precision import Precision
from zipformer.training.state import seed_step
from zipformer.training.task import Task, TrainingBatch
from zipformer.training.whitening import Whitening

NOT_FINITE = "its loss or gradients are not finite"
OUT_OF_MEMORY = "memory ran out"


@dataclass(frozen=True)
class StepResult:
    """What a step did; but for ``info`` the same in all processes.

    Args:
        step: The context that was drawn for it.
        info: Sums over this process's batches, scalars on the device (see ``Task.loss``).
        seconds: Audio in the batches of all processes.
        grad_norm: Norm of all gradients before clipping, a scalar on the device; None without.
        why: Why the step did not change the model; empty if it did.
        cut_ids: The cuts in the batches that made the trouble.
    """

    step: StepInfo
    info: dict[str, Tensor]
    seconds: float
    grad_norm: Tensor | None = None
    why: str = ""
    cut_ids: tuple[str, ...] = ()

    @property
    def updated(self) -> bool:
        """Whether the model has changed."""
        return not self.why


class Updater:
    """Takes training steps: context, forward pass, losses, backward pass, update.

    The gradients are summed over the batches of a process and over the processes. If any loss or
    gradient is not finite, or memory runs out and ``oom`` is ``skip``, no process changes its
    model.

    Args:
        task: Draws the context and knows the loss.
        model: In training mode.
        optimizer: Of the model.
        precision: Device and number format.
        processes: That step together.
        share: Which batches of a step are this process's.
        seed: Of the randomness inside the model.
        oom: ``stop`` raises when memory runs out.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        optimizer: Optimizer,
        precision: Precision,
        processes: Processes,
        share: Share,
        seed: int = 0,
        oom: Literal["stop", "skip"] = "stop",
    ) -> None:
        self.task = task
        self.model = model
        self.optimizer = optimizer
        self.precision = precision
        self.processes = processes
        self.positions = share.positions
        self.whitening = Whitening(model, processes, share)
        self.seed = seed
        self.oom = oom

    def __call__(self, batches: Sequence[TrainingBatch], number: int) -> StepResult:
        """Learns from one batch or several.

        Args:
            batches: This process's, on the device of the model.
            number: Steps taken before this one.

        Raises:
            RuntimeError: If memory runs out, naming the batch and the setting to lower.
        """
        # 1. Context
        step = self.task.draw(number)

        # 2. Forward pass, losses, backward pass
        self.optimizer.zero_grad(set_to_none=True)
        info, starved = self._add_gradients(batches, step)
        failed, seconds = self.processes.sum(
            float(starved is not None), sum(batch.seconds for batch in batches)
        )
        if failed:
            self.optimizer.zero_grad(set_to_none=True)
            return self._out_of_memory(step, starved, seconds)
        self.processes.sum_gradients(self.model)

        # 3. Update
        scaler = self.precision.scaler
        scaler.unscale_(self.optimizer)
        # An infinite limit clips nothing: this only measures.
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), float("inf"))
        # Both are looked at once, after the backward pass: one wait for the device.
        loss_is_finite = torch.isfinite(info["loss"])
        all_is_finite = loss_is_finite & torch.isfinite(grad_norm)
        with waits.expected():
            finite = bool(all_is_finite.item())
        (trouble,) = self.processes.any(not finite)
        if not trouble:
            self.optimizer.step()
        if scaler.is_enabled():
            scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if not trouble:
            return StepResult(step, info, seconds, grad_norm)
        blamed = self._cuts_to_blame(batches, bool(loss_is_finite))
        return StepResult(step, info, seconds, grad_norm, NOT_FINITE, blamed)

    def try_out(self, batch: TrainingBatch, step: StepInfo) -> None:
        """Computes loss and gradients of one batch and forgets them.

        Raises:
            RuntimeError: If memory runs out, naming the batch and the setting to lower.
        """
        starved = self._add_gradients([batch], step)[1]
        self.optimizer.zero_grad(set_to_none=True)
        if starved is not None:
            raise RuntimeError(out_of_memory_advice(batch, batch.cut_ids))

    def _add_gradients(
        self, batches: Sequence[TrainingBatch], step: StepInfo
    ) -> tuple[dict[str, Tensor], TrainingBatch | None]:
        """Adds up the gradients of all batches.

        Returns:
            Sums of what the losses report, and the batch that memory did not suffice for.
        """
        sums: dict[str, Tensor] = {}
        for i, batch in enumerate(batches):
            seed_step(self.seed, step.step, self.positions[i])
            self.whitening.begin(i)
            try:
                with self.precision.autocast():
                    loss, info = self.task.loss(self.model, batch, step)
                self.precision.scaler.scale(loss).backward()
                self.whitening.settle(i)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return sums, batch  # outside, so that the error lets go of what it holds
            sums = {name: sums[name] + v if name in sums else v for name, v in info.items()}
        return sums, None

    def _cuts_to_blame(
        self, batches: Sequence[TrainingBatch], loss_is_finite: bool
    ) -> tuple[str, ...]:
        """Of all processes, the cuts of batches whose loss is not finite; of all if none is."""
        mine = [cut_id for batch in batches for cut_id in batch.cut_ids]
        blamed = self.processes.gather([] if loss_is_finite else mine)
        if not any(blamed):  # the gradients alone: any batch may be to blame
            blamed = self.processes.gather(mine)
        return tuple(cut_id for ids in blamed for cut_id in ids)

    def _out_of_memory(
        self, step: StepInfo, starved: TrainingBatch | None, seconds: float
    ) -> StepResult:
        mine = list(starved.cut_ids) if starved is not None else []
        everyone = self.processes.gather(mine)
        cut_ids = tuple(cut_id for ids in everyone for cut_id in ids)
        if self.oom == "stop":
            raise RuntimeError(out_of_memory_advice(starved, cut_ids))
        if self.precision.device.type == "cuda":
            torch.cuda.empty_cache()
        return StepResult(step, {}, seconds, None, OUT_OF_MEMORY, cut_ids)


class NonFiniteError(RuntimeError):
    """Too many steps in a row could not be taken."""

    def __init__(self, in_row: int, last: StepResult, lr: float, precision: str) -> None:
        cuts = ", ".join(last.cut_ids[:10])
        super().__init__(
            f"{in_row} steps in a row were skipped: the last time {last.why} "
            f"(learning rate {lr:.3g}, precision {precision}; cuts: {cuts}). "
            "The weights in the last checkpoint are good. If memory ran out, lower "
            "data.max_duration. If losses are not finite, lower optim.base_lr (by a third, say) or "
            "raise optim.warmup_batches, use train.precision = bf16 or fp32 instead of fp16, look "
            "at the cuts named in log.txt, then run the same command again. "
            "train.max_nonfinite sets how many are borne."
        )
