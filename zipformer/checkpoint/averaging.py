"""Running average of the model over training.

The mean over any range of steps between two checkpoints can be had from those two alone: each holds
the sum of all snapshots since the start of training and their count, so the difference is the sum
over the range. The sum stays in float64 on purpose. float32 weights have 24 bits, so thousands of
them add up in float64 without rounding, and the difference of two such sums is as good as the sum
taken directly; in float32 it would have lost the weights in the noise.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor, nn


class AverageState(TypedDict):
    """What a checkpoint keeps of a ``ModelAverage``: snapshots so far and their sums (float64)."""

    count: int
    total: dict[str, Tensor]


class ModelAverage:
    """Sum and count of snapshots of a model's weights, in float64 on the model's device.

    Args:
        model: Tells names, shapes and device; its present weights are not a snapshot yet.
    """

    def __init__(self, model: nn.Module) -> None:
        self.count = 0
        self.total = {
            name: torch.zeros_like(value, dtype=torch.float64)
            for name, value in model.state_dict().items()
            if value.is_floating_point()
        }

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Takes one snapshot of ``model``."""
        weights = model.state_dict()
        for name, total in self.total.items():
            total.add_(weights[name])
        self.count += 1

    def state_dict(self) -> AverageState:
        """The count and the sums (float64), without copying them."""
        return {"count": self.count, "total": self.total}

    def load_state_dict(self, state: AverageState) -> None:
        """Takes over count and sums.

        Raises:
            ValueError: If the sums belong to other parameters.
        """
        if self.total.keys() != state["total"].keys():
            wrong = sorted(self.total.keys() ^ state["total"].keys())
            raise ValueError(f"the stored average belongs to another model; differing: {wrong[:5]}")
        self.count = state["count"]
        for name, total in self.total.items():
            total.copy_(state["total"][name])


def range_mean(end: AverageState, start: AverageState | None = None) -> dict[str, Tensor]:
    """Mean of the snapshots taken after ``start`` and up to ``end``.

    Args:
        end: ``ModelAverage.state_dict()`` of the later checkpoint.
        start: The same of the earlier one; None = from the start of training.

    Returns:
        float64 weights by name.

    Raises:
        ValueError: If no snapshot lies in between.
    """
    count = end["count"] - (start["count"] if start else 0)
    if count <= 0:
        raise ValueError("no snapshot of the model was taken in that range")
    if start is None:
        return {name: total / count for name, total in end["total"].items()}
    return {name: (total - start["total"][name]) / count for name, total in end["total"].items()}
