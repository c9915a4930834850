"""Parts of a layer that an ablation takes out or splits up; they take the place of the others.

Letters: B batch, K windows, W frames of a window, L left context, S = L + W keys, H heads,
D channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from zipformer.nn.layout import Layout
from zipformer.nn.zipformer.attention import AttentionWeights


class NoNonlinAttention(nn.Module):
    """In place of a ``NonlinAttention``: nothing is added."""

    def forward(
        self, x: Tensor, weights: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Returns a scalar zero, and the state as it came."""
        return x.new_zeros(()), state


class SharedWeights(nn.Module):
    """Attention weights for the second self-attention of a layer: those of the first."""

    def forward(
        self, weights: Tensor, x: Tensor, positions: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, K, H, W, S) -> the same; the rest is as in ``OwnWeights``."""
        return weights, state


class OwnWeights(AttentionWeights):
    """The same where weights are not shared: new ones, from what the layer has made of its input.

    Args: as in ``AttentionWeights``.
    """

    def forward(  # type: ignore[override]
        self, weights: Tensor, x: Tensor, positions: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """As ``AttentionWeights``, whatever ``weights`` the layer has had before."""
        return super().forward(x, positions, layout, state)
