"""Adam as torch has it, to see what ScaledAdam is worth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import nn

from zipformer.optim.scaled_adam import ClipInfo


class Adam(torch.optim.Adam):
    """``torch.optim.Adam`` with the decays of ScaledAdam, and without clipping.

    Args:
        params: Parameters.
        lr: Step size, about the absolute change of every element per step.
    """

    last_clip: ClassVar[ClipInfo] = ClipInfo()

    def __init__(self, params: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(params, lr=lr, betas=(0.9, 0.98), eps=1e-8)
