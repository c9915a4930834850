"""Eden: a learning rate that falls with batches and with epochs, after a short warm-up."""

from __future__ import annotations

from torch.optim import Optimizer


class Eden:
    """Sets the learning rate of every group from counts of batches and epochs.

        lr = base * ((b^2 + B^2) / B^2)^-0.25 * ((e^2 + E^2) / E^2)^-0.25 * warm-up(b)

    (Zipformer, arXiv 2310.11230, section 3.5.) The warm-up rises linearly from ``warmup_start``
    to 1.

    Args:
        optimizer: Whose groups are steered; a group's own ``base_lr`` wins over its ``lr``.
        lr_batches: B, the batches after which the rate begins to fall.
        lr_epochs: E, the epochs after which it begins to fall.
        warmup_batches: Length of the warm-up.
        warmup_start: Factor at its beginning.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_batches: float,
        lr_epochs: float,
        warmup_batches: float = 500.0,
        warmup_start: float = 0.5,
    ) -> None:
        if lr_batches <= 0 or lr_epochs <= 0 or warmup_batches < 0 or not 0 <= warmup_start <= 1:
            raise ValueError(
                "Eden needs lr_batches > 0, lr_epochs > 0, warmup_batches >= 0 and warmup_start "
                f"in 0..1, got {lr_batches}, {lr_epochs}, {warmup_batches}, {warmup_start}"
            )
        self.optimizer = optimizer
        self.lr_batches = lr_batches
        self.lr_epochs = lr_epochs
        self.warmup_batches = warmup_batches
        self.warmup_start = warmup_start
        self.batch = 0
        self.epoch = 0
        for group in optimizer.param_groups:
            group.setdefault("base_lr", group["lr"])
        # Own copies: restoring the optimizer also restores its groups, old base rates included.
        self.base_lrs = [group["base_lr"] for group in optimizer.param_groups]
        self._update()

    def step_batch(self, batch: int) -> None:
        """To be called before every optimizer step, with the batches trained on so far."""
        self.batch = batch
        self._update()

    def step_epoch(self, epoch: int) -> None:
        """To be called at the start of every epoch, with its number counted from 0."""
        self.epoch = epoch
        self._update()

    def factor(self) -> float:
        """The present rate relative to the base rate."""
        b, e = self.batch / self.lr_batches, self.epoch / self.lr_epochs
        warm = 1.0
        if self.batch < self.warmup_batches:
            done = self.batch / self.warmup_batches
            warm = self.warmup_start + (1.0 - self.warmup_start) * done
        return (b * b + 1.0) ** -0.25 * (e * e + 1.0) ** -0.25 * warm

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
