"""What a stream carries from one step of an encoder to the next, whatever kind of encoder it is.

Letters: B streams, S numbers in a stream's state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

LayerStates = TypeVar("LayerStates")  # any dataclass of tensors, the stream's axis first in each


@dataclass
class EncoderState:
    """Everything that streams carry from one step to the next; the stream's axis comes first.

    Args:
        frontend: (B, channels, 3, bins), convolved frames before the next chunk.
        processed: (B,) int64, frames at 50 Hz so far.
        layers: One state per layer, each a dataclass of floating-point tensors, or None where the
            layer has nothing to remember.
    """

    frontend: Tensor
    processed: Tensor
    layers: list[Any]

    def select(self, streams: Sequence[int] | Tensor) -> EncoderState:
        """The states of some streams, by index along the batch axis."""
        index = torch.as_tensor(streams, dtype=torch.long, device=self.processed.device)
        return self._map(lambda x: x.index_select(0, index))

    def to(self, device: torch.device | str) -> EncoderState:
        """The same states on another device."""
        return self._map(lambda x: x.to(device))

    @staticmethod
    def cat(states: Sequence[EncoderState]) -> EncoderState:
        """Joins streams into one batch; all must be of the same encoder and context."""
        columns = [list(state._tensors()) for state in states]
        joined = iter([torch.cat(parts) for parts in zip(*columns, strict=True)])
        return states[0]._map(lambda _: next(joined))

    def pack(self) -> Tensor:
        """(B, S), everything but ``processed`` in one row for each stream."""
        return torch.cat([x.flatten(1) for x in self._tensors() if x.is_floating_point()], dim=1)

    @staticmethod
    def unpack(packed: Tensor, processed: Tensor, like: EncoderState) -> EncoderState:
        """The states that ``pack`` made (B, S) of, with (B,) ``processed``.

        Args:
            packed: From states of the same shapes as ``like``.
            processed: (B,) int64.
            like: States of any number of streams.
        """
        shapes = [x.shape[1:] for x in like._tensors() if x.is_floating_point()]
        parts = packed.split([shape.numel() for shape in shapes], dim=1)
        tensors = iter([x.unflatten(1, s) for x, s in zip(parts, shapes, strict=True)])
        return like._map(lambda x: next(tensors) if x.is_floating_point() else processed)

    def _tensors(self) -> list[Tensor]:
        found: list[Tensor] = []
        self._map(lambda x: found.append(x) or x)  # type: ignore[func-returns-value]
        return found

    def _map(self, function: Callable[[Tensor], Tensor]) -> EncoderState:
        return EncoderState(
            function(self.frontend),
            function(self.processed),
            [_map_fields(state, function) for state in self.layers],
        )


def _map_fields(state: LayerStates, function: Callable[[Tensor], Tensor]) -> LayerStates:
    values = {f.name: getattr(state, f.name) for f in fields(state)}  # type: ignore[arg-type]
    mapped = {name: None if x is None else function(x) for name, x in values.items()}
    return type(state)(**mapped)
