"""One encoder step with the whole state of a stream in one row, and the same as a fixed graph.

Letters: B streams, C chunk and R right context in frames of 10 ms, D channels, S numbers in a
stream's state.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from zipformer import ops
from zipformer.context import FRONTEND_LOOKAHEAD, Context
from zipformer.nn.state import EncoderState
from zipformer.nn.streaming_encoder import StreamingEncoder

# What computes steps: (B, C + R + 13, features), (B, S) and (B,) to (B, (C + R) / 4, D) and (B, S).
Encode = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class PackedStep(nn.Module):
    """``Encoder.step`` on packed states.

    A row holds a stream's state in one piece, so that streams are put together and taken apart
    with one operation each, and none keeps the memory of others alive.

    Args:
        encoder: In evaluation mode.
        context: One that can stream.

    Raises:
        ValueError: If the encoder cannot stream with this context.
    """

    def __init__(self, encoder: StreamingEncoder, context: Context) -> None:
        super().__init__()
        self.encoder = encoder
        self.context = context
        self.fresh = encoder.initial_state(1, context)

    def forward(self, features: Tensor, packed: Tensor, processed: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes the next chunk of each stream.

        Args:
            features: (B, C + R + 13, num_features).
            packed: (B, S).
            processed: (B,) int64, frames at 50 Hz that came before.

        Returns:
            (B, (C + R) / 4, D), right context included, and (B, S).
        """
        state = EncoderState.unpack(packed, processed, like=self.fresh)
        out, state = self.encoder.step(features, state, self.context, with_right=True)
        return out, state.pack()


Prepare = Callable[[PackedStep], Encode]  # makes a step fast, and may take its time for it


def example_of(step: PackedStep) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of two streams that have heard nothing, to trace a step with."""
    frames = step.context.window + FRONTEND_LOOKAHEAD
    return (
        step.fresh.frontend.new_zeros(2, frames, step.encoder.config.num_features),
        torch.cat([step.fresh.pack()] * 2),
        torch.cat([step.fresh.processed] * 2),
    )


def trace(step: PackedStep) -> torch.jit.ScriptModule:
    """The step as a frozen TorchScript graph for any number of streams.

    The same numbers to rounding; what depends on weights and context alone, such as positions and
    their projections, is computed once, and no Python runs between the operations. It pays where
    these are small: on a CPU, with small models and few streams.
    """
    example = example_of(step)
    with torch.no_grad(), ops.use("reference"), warnings.catch_warnings():
        # The sizes that tracing takes for constants are constants at one context; that the number
        # of streams is none is tested.
        warnings.simplefilter("ignore")
        graph = torch.jit.freeze(torch.jit.trace(step.eval(), example, check_trace=False))
        for _ in range(2):  # the first runs optimise the graph
            graph(*example)
    return graph
