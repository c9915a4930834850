"""The axes of charts: where values stand, and which round ones are written beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

MOST_TICKS = 7  # on a logarithmic axis
MARGIN = 0.06  # of the range, free at the ends of an axis
LOG_MARGIN = 1.15  # the same as a ratio


@dataclass(frozen=True)
class Axis:
    """A range of values along one side of a chart.

    Args:
        label: What is drawn along it, with its unit; empty if the ticks say it.
        low: Value where it begins.
        high: Value where it ends.
        ticks: Values that are written, and as what.
        log: Whether equal ratios are equally far apart.
        break_at: Where the scale ends, if something that has no value on it stands after it.
    """

    label: str
    low: float
    high: float
    ticks: list[tuple[float, str]]
    log: bool = False
    break_at: float | None = None

    @property
    def title(self) -> str:
        """The label, and a note if distances are ratios."""
        return f"{self.label} (logarithmic)" if self.log else self.label

    def share(self, value: float) -> float:
        """Where a value stands: 0 at ``low``, 1 at ``high``."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, share: float) -> float:
        """The value that stands there; the reverse of ``share``."""
        if self.log:
            return self.low * (self.high / self.low) ** share
        return self.low + share * (self.high - self.low)

    def with_place(self, name: str) -> tuple[Axis, float]:
        """This axis with a place of its own after its end.

        Returns:
            The longer axis, and the value at which the place stands on it.
        """
        place = self.value(1.08)
        ticks = [*self.ticks, (place, name)]
        longer = replace(self, high=self.value(1.14), ticks=ticks, break_at=self.value(1.02))
        return longer, place


def value_axis(
    label: str, values: Sequence[float], log_from: float = math.inf, from_zero: bool = True
) -> Axis:
    """An axis with room for some values.

    Args:
        label: As ``Axis`` takes it.
        values: At least one.
        log_from: Largest over smallest value from which it is logarithmic; never if one is not
            above zero.
        from_zero: Whether it begins at zero where that costs no more than half of its length.
    """
    low, high = min(values), max(values)
    if low > 0 and high / low >= log_from:
        low, high = low / LOG_MARGIN, high * LOG_MARGIN
        return Axis(label, low, high, with_texts(log_ticks(low, high)), log=True)
    margin = MARGIN * (high - low) or 0.1 * abs(high) or 1.0
    if from_zero and (0 <= low < 0.5 * high or low == high == 0):
        low = margin
    low, high = low - margin, high + margin
    return Axis(label, low, high, with_texts(linear_ticks(low, high)))


def named_axis(names: Sequence[str]) -> Axis:
    """An axis of things without order, equally far apart: name i stands at i + 0.5."""
    return Axis("", 0, len(names), [(i + 0.5, name) for i, name in enumerate(names)])


def linear_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round values from low to high, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round values from low to high, as many as can be read."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for mantissas in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        inside = [m * 10.0**power for power in powers for m in mantissas]
        inside = [value for value in inside if low <= value <= high]
        if len(inside) <= MOST_TICKS:
            return inside
    return inside[:: -(-len(inside) // MOST_TICKS)]


def with_texts(values: Sequence[float]) -> list[tuple[float, str]]:
    """Each value, and how it is written."""
    return [(value, short(value)) for value in values]


def short(value: float) -> str:
    """A number in few letters.

    Example:
        >>> short(0.045), short(12000), short(2500000), short(3.14159)
        ('0.045', '12k', '2.5M', '3.142')
    """
    for size, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= size:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"
