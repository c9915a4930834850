"""What a training method promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from zipformer.config import RunConfig
from zipformer.context import Context
from zipformer.data.batch import Batch
from zipformer.model import AsrModel
from zipformer.nn.streaming_encoder import RightMode


@dataclass(frozen=True)
class StepInfo:
    """What a loss may depend on besides the batch.

    Args:
        step: Steps taken before this one.
        context: The context drawn for this step.
        right_mode: How the right context is computed (see ``Encoder.forward``).
    """

    step: int
    context: Context
    right_mode: RightMode


@dataclass(frozen=True)
class StepLoss:
    """What a method made of a batch.

    Args:
        loss: A sum over the batch.
        parts: What it is made of, sums without weights, by name.
        frames: Encoder output frames of the batch, a scalar; of one encoding.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    frames: Tensor


class Method(ABC):
    """One way to learn from a batch.

    Args:
        config: Of the run; it has been checked.
    """

    def __init__(self, config: RunConfig) -> None:
        self.settings = config.method
        self.loss_settings = config.loss

    @property
    def full_share(self) -> float:
        """Share of the steps that encode in full context alone, whatever the menus say."""
        return 0.0

    @abstractmethod
    def loss(self, model: AsrModel, batch: Batch, step: StepInfo) -> StepLoss:
        """The loss to descend, and its parts.

        Args:
            model: In training mode, or in evaluation mode for validation.
            batch: On the device of the model.
            step: The context that was drawn for it, and how far training is.
        """
