"""Eden: a learning rate that falls with batches and with epochs, after a short warm-up."""

from __future__ import annotations

from torch.optim import Optimizer

from zipformer.optim.learning_rate import LearningRate


class Eden(LearningRate):
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
        self.lr_batches = lr_batches
        self.lr_epochs = lr_epochs
        self.warmup_batches = warmup_batches
        self.warmup_start = warmup_start
        super().__init__(optimizer)

    def factor(self) -> float:
        """The present rate relative to the base rate."""
        b, e = self.batch / self.lr_batches, self.epoch / self.lr_epochs
        warm = 1.0
        if self.batch < self.warmup_batches:
            done = self.batch / self.warmup_batches
            warm = self.warmup_start + (1.0 - self.warmup_start) * done
        return (b * b + 1.0) ** -0.25 * (e * e + 1.0) ** -0.25 * warm
