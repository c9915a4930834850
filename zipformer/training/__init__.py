"""Training: one loop, and what it is made of."""

from zipformer.training.loop import fit

__all__ = ["fit"]
