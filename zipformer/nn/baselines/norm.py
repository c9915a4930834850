"""LayerNorm, for all contexts or for each mode its own."""

from __future__ import annotations

from torch import Tensor, nn

from zipformer.nn.layout import Layout
from zipformer.nn.norm import layer_norm


class ModeNorm(nn.Module):
    """LayerNorm whose parameters may depend on whether the whole utterance is seen.

    Args:
        channels: D.
        dual: Keeps apart what full context and what chunks learn (Dual-mode ASR, ICLR 2021,
            section 3.1); statistics are those of a frame in either case.
    """

    def __init__(self, channels: int, dual: bool) -> None:
        super().__init__()
        self.norm = layer_norm(channels)
        self.full_norm = layer_norm(channels) if dual else None

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(..., D) -> (..., D), in the mode of ``layout``."""
        norm = self.full_norm if layout.full and self.full_norm is not None else self.norm
        return norm(x)
