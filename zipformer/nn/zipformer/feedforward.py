"""Feed-forward module."""

from __future__ import annotations

from torch import Tensor, nn

from zipformer import ops
from zipformer.nn.choices import Activation, NormName
from zipformer.nn.dropout import SharedDropout
from zipformer.nn.layout import Layout
from zipformer.nn.linear import scaled_linear
from zipformer.nn.norm import make_module_norm
from zipformer.nn.regularizers import Balancer, Whiten
from zipformer.nn.schedule import ScheduledFloat


class FeedForward(nn.Module):
    """Two projections around SwooshL, or another activation.

    Args:
        channels: D.
        hidden: Width between the projections.
        activation: Between them.
        norm: At the end, if there is to be one.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        activation: Activation = ops.swoosh_l,
        norm: NormName | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.in_proj = nn.Linear(channels, hidden)
        self.hidden_balancer = Balancer(0.3, 1.0, 0.75, 5.0)
        self.dropout = SharedDropout(ScheduledFloat((0.0, 0.3), (20000.0, 0.1), default=0.0))
        self.out_proj = scaled_linear(hidden, channels, scale=0.1)
        self.out_whiten = Whiten(1, ScheduledFloat((0.0, 7.5), (20000.0, 15.0)))
        self.out_norm = make_module_norm(norm, channels)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(B, K, W, D) -> (B, K, W, D)."""
        x = self.hidden_balancer(self.in_proj(x), layout.valid)
        x = self.out_proj(self.dropout(self.activation(x)))
        return self.out_norm(self.out_whiten(x, layout.valid))
