"""Values that change slowly during training: dropout and skip rates, limits of regularizers."""

from __future__ import annotations

import bisect

from torch import nn


class ScheduledFloat(nn.Module):
    """A number that is a piecewise linear function of training progress.

    Progress is counted in reference batches: audio seconds seen so far, divided by the seconds of
    a reference batch (600 as published), so that neither world size nor gradient accumulation
    changes a schedule. ``set_progress`` writes it to a whole model once per step; until then the
    value is ``default``.

    Args:
        points: (progress, value) pairs in rising order; constant before the first and after the
            last.
        default: The value while no progress has been set; the first point's value if None.

    Example:
        >>> rate = ScheduledFloat((0.0, 0.2), (4000.0, 0.0), default=0.0)
        >>> float(rate)
        0.0
        >>> rate.update(1000.0)
        >>> float(rate)
        0.15
    """

    def __init__(self, *points: tuple[float, float], default: float | None = None) -> None:
        super().__init__()
        if not points or any(a[0] >= b[0] for a, b in zip(points, points[1:], strict=False)):
            raise ValueError(f"a schedule needs points of rising progress, got {points}")
        self.points = points
        self.value = points[0][1] if default is None else default

    def update(self, progress: float) -> None:
        """Sets the value for ``progress`` reference batches."""
        xs = [x for x, _ in self.points]
        i = bisect.bisect_right(xs, progress)
        if i == 0 or i == len(xs):
            self.value = self.points[min(i, len(xs) - 1)][1]
            return
        (x0, y0), (x1, y1) = self.points[i - 1], self.points[i]
        self.value = y0 + (y1 - y0) * (progress - x0) / (x1 - x0)

    def __float__(self) -> float:
        return float(self.value)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return ", ".join(f"{x:g}: {y:g}" for x, y in self.points)


def scheduled(value: float | ScheduledFloat) -> ScheduledFloat:
    """A constant as a schedule; a schedule unchanged."""
    return value if isinstance(value, ScheduledFloat) else ScheduledFloat((0.0, value))


def set_progress(model: nn.Module, progress: float) -> None:
    """Moves every schedule inside ``model`` to ``progress`` reference batches."""
    for module in model.modules():
        if isinstance(module, ScheduledFloat):
            module.update(progress)
