"""Random numbers that depend on what they are for, never on what was drawn before."""

from __future__ import annotations

import numpy as np
import torch


def derive_seed(*numbers: int) -> int:
    """One seed (below 2 ** 63) out of several non-negative integers; their order counts."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def generator_for(*numbers: int) -> torch.Generator:
    """A generator of its own for, say, (seed, epoch, batch)."""
    return torch.Generator().manual_seed(derive_seed(*numbers))


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """One number between ``low`` and ``high``."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def integer(low: int, high: int, generator: torch.Generator) -> int:
    """One whole number, ``low`` and ``high`` included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
