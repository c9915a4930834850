"""Noam: a learning rate that rises for some batches and then falls as one over their root."""

from __future__ import annotations

from torch.optim import Optimizer

from zipformer.optim.learning_rate import LearningRate


class Noam(LearningRate):
    """Sets the learning rate of every group from the count of batches alone.

        lr = base * dim^-0.5 * min(t^-0.5, t * warmup^-1.5),  t = batches trained on, and one

    (Attention is all you need, arXiv 1706.03762, equation 3.) So ``base`` is no step size but a
    factor: with Adam, 2.5 to 10 where ``dim`` is 512.

    Args:
        optimizer: Whose groups are steered; a group's own ``base_lr`` wins over its ``lr``.
        dim: Width that the rate is meant for.
        warmup_batches: Batch at which the rate is highest.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, optimizer: Optimizer, dim: int, warmup_batches: float) -> None:
        if dim < 1 or warmup_batches < 1:
            raise ValueError(
                f"Noam needs noam_dim >= 1 and warmup_batches >= 1, got {dim}, {warmup_batches}"
            )
        self.dim = dim
        self.warmup_batches = warmup_batches
        super().__init__(optimizer)

    def factor(self) -> float:
        """The present rate relative to the base rate."""
        t = self.batch + 1
        return float(self.dim**-0.5 * min(t**-0.5, t * self.warmup_batches**-1.5))
