"""What schedules of the learning rate have in common: counts in, the rate of every group out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch.optim import Optimizer


class LearningRate(ABC):
    """Sets the rate of every group to its base rate times a factor of batches and epochs.

    Args:
        optimizer: Whose groups are steered; a group's own ``base_lr`` wins over its ``lr``.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.batch = 0
        self.epoch = 0
        for group in optimizer.param_groups:
            group.setdefault("base_lr", group["lr"])
        # Own copies: restoring the optimizer also restores its groups, old base rates included.
        self.base_lrs = [group["base_lr"] for group in optimizer.param_groups]
        self._update()

    @abstractmethod
    def factor(self) -> float:
        """The present rate relative to the base rate."""

    def step_batch(self, batch: int) -> None:
        """To be called before every optimizer step, with the batches trained on so far."""
        self.batch = batch
        self._update()

    def step_epoch(self, epoch: int) -> None:
        """To be called at the start of every epoch, with its number counted from 0."""
        self.epoch = epoch
        self._update()

    def state_dict(self) -> dict[str, int]:
        """The counts. The base rate is a setting, not a state: a resumed run may change it."""
        return {"batch": self.batch, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restores ``state_dict``."""
        self.batch, self.epoch = state["batch"], state["epoch"]
        self._update()

    def _update(self) -> None:
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["base_lr"] = base_lr
            group["lr"] = base_lr * self.factor()
