"""How many operations an encoder takes, counted without computing any.

A pass over tensors that have shapes and no numbers calls every operation that a real one calls, in
the plain form of each. Torch's own counter knows products and convolutions, two operations for a
multiplication with its addition; ``ADDED`` has the rest, by torch's names. What moves, masks or
compares numbers costs nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.utils.flop_counter import FlopCounterMode

from zipformer import ops
from zipformer.context import FRAME_SECONDS, Context
from zipformer.nn.streaming_encoder import StreamingEncoder

SECONDS = 30.0  # of audio, as the literature counts
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "mv")
CONVOLUTIONS = ("convolution",)


class Formula(Protocol):
    """Operations of one call, from the shapes of its arguments and of its result."""

    def __call__(self, *shapes: Sequence[int], out_shape: Sequence[int], **rest: object) -> int:
        """The number of operations."""


def _of_result(count: int) -> Formula:
    def operations(*shapes: Sequence[int], out_shape: Sequence[int], **rest: object) -> int:
        return count * math.prod(out_shape)

    return operations


def _of_input(count: int) -> Formula:
    def operations(*shapes: Sequence[int], out_shape: Sequence[int], **rest: object) -> int:
        return count * math.prod(shapes[0])

    return operations


# Operations of a number in the result, or in the first argument; a function such as exp is one.
ADDED: dict[str, Formula] = {
    "mv": _of_input(2),
    **{
        name: _of_result(1)
        for name in (
            "add add_ sub sub_ rsub mul mul_ div div_ neg abs sign pow square exp log1p sqrt rsqrt "
            "sin cos atan sigmoid tanh relu silu softplus cumsum"
        ).split()
    },
    "addcmul": _of_result(2),
    "glu": _of_result(2),  # sigmoid, multiplication
    "mean": _of_input(1),
    "sum": _of_input(1),
    "_softmax": _of_result(5),  # maximum, difference, exponential, sum, quotient
    "native_layer_norm": _of_input(7),  # two means, difference, square, quotient, scale, shift
}


@dataclass(frozen=True)
class Operations:
    """Operations of a pass.

    Args:
        by_name: How many, by torch's name of the operation.
    """

    by_name: Mapping[str, int]

    @property
    def total(self) -> int:
        """All."""
        return sum(self.by_name.values())

    @property
    def products(self) -> int:
        """Those of matrix products: projections, and attention."""
        return self._of(PRODUCTS)

    @property
    def convolutions(self) -> int:
        """Those of convolutions."""
        return self._of(CONVOLUTIONS)

    @property
    def others(self) -> int:
        """Those of activations, norms, softmax, gates, sums."""
        return self.total - self.products - self.convolutions

    def _of(self, names: Sequence[str]) -> int:
        return sum(self.by_name.get(name, 0) for name in names)


def count_operations(
    encoder: StreamingEncoder, context: Context, seconds: float = SECONDS
) -> Operations:
    """Counts what one utterance takes, the convolutional frontend included.

    Right context is computed in windows, as a stream does; what windows compute twice counts twice.

    Args:
        encoder: On torch's device ``meta``, where nothing is computed.
        context: What it sees.
        seconds: Length of the utterance.

    Raises:
        ValueError: If the encoder cannot compute the context.
    """
    frames = round(seconds / FRAME_SECONDS)
    features = torch.empty(1, frames, encoder.config.num_features, device="meta")
    lengths = torch.full((1,), frames, device="meta")
    counter = FlopCounterMode(display=False, custom_mapping=_by_packet(ADDED))
    with counter, torch.no_grad(), ops.use("reference"):
        encoder(features, lengths, context)
    found = counter.get_flop_counts().get("Global", {})
    return Operations({_name(packet): int(number) for packet, number in found.items()})


def _by_packet(formulas: Mapping[str, Formula]) -> dict[object, Formula]:
    return {getattr(torch.ops.aten, name): formula for name, formula in formulas.items()}


def _name(packet: object) -> str:
    """Torch's name of an operation, without ``aten.``."""
    return str(packet).removeprefix("aten.")
