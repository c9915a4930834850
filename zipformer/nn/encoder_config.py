"""What the config of every kind of encoder has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from zipformer.context import Context
from zipformer.nn.choices import Choices

Size = bool | int | float | str | tuple[int, ...]  # what a field of an encoder's config holds


@dataclass(frozen=True)
class EncoderConfig(ABC):
    """Sizes of an encoder: what all kinds have.

    Raises:
        ValueError: If a size cannot be built.
    """

    kind: str = ""
    frontend_channels: tuple[int, int, int] = (8, 32, 128)
    num_features: int = 80
    feature_mean: float = 0.0  # subtracted from the features, which are then
    feature_std: float = 1.0  # divided by this; as published, neither
    causal: bool = True  # whether it can be used with chunks; false sees whole utterances only

    SIZES: ClassVar[dict[str, dict[str, Size]]] = {}  # what small, medium and large change

    def __post_init__(self) -> None:
        if self.feature_std <= 0:
            raise ValueError(f"encoder.feature_std must be positive, got {self.feature_std}")
        if len(self.frontend_channels) != 3:
            raise ValueError("encoder.frontend_channels must have 3 entries")

    @classmethod
    def small(cls, **changes: Size) -> Self:
        """The small size; any field may be changed by keyword."""
        return cls._of_size("small", changes)

    @classmethod
    def medium(cls, **changes: Size) -> Self:
        """The medium size; any field may be changed by keyword."""
        return cls._of_size("medium", changes)

    @classmethod
    def large(cls, **changes: Size) -> Self:
        """The large size; any field may be changed by keyword."""
        return cls._of_size("large", changes)

    @classmethod
    def _of_size(cls, name: str, changes: Mapping[str, Size]) -> Self:
        make: Callable[..., Self] = cls  # each kind has fields of its own
        return make(**{**cls.SIZES[name], **changes})

    @property
    def choices(self) -> Choices:
        """What modules are made of."""
        return Choices()

    @property
    @abstractmethod
    def frontend_dim(self) -> int:
        """D0 of the frontend's output."""

    @property
    @abstractmethod
    def output_dim(self) -> int:
        """D of the encoder output."""

    @property
    @abstractmethod
    def context_unit(self) -> int:
        """Frames of 10 ms that chunk, left and right must be multiples of."""

    @property
    @abstractmethod
    def min_left(self) -> int:
        """Fewest frames of left context: as far as any convolution reaches back."""

    def check_context(self, context: Context) -> None:
        """Refuses a context that this encoder cannot compute exactly.

        Raises:
            ValueError: Naming what is wrong and the nearest allowed values.
        """
        if not self.causal and not context.is_full:
            raise ValueError(
                f"context {context}: an encoder with causal = false sees the whole utterance; "
                "use 'full', or train with encoder.causal = true"
            )
        context.check(self.context_unit, self.min_left)
