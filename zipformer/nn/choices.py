"""What may be taken out of a Zipformer, or replaced, to see what it is worth.

Each of the choices is a row of the published ablation table (Zipformer, arXiv 2310.11230).
They are made when modules are built: what is left out is replaced by a module that does nothing, so
that no forward pass asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from zipformer import ops

NormName = Literal["bias_norm", "layer_norm"]
ActivationName = Literal["swoosh", "swoosh_r", "swish"]
Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Choices:
    """What modules are made of; the defaults are the published model.

    Args:
        nonlin_attention: Whether layers have a ``NonlinAttention``.
        share_attention: Whether both self-attentions of a layer use the same weights.
        bypass: Whether layers have a ``Bypass``, which skips whole layers in training as well.
        norm: At the end of layers and of the frontend.
        activation: ``swoosh`` is SwooshL in feed-forward modules and the ConvNeXt, SwooshR in other
            convolutions; the others are the same function everywhere.
        module_norms: Whether every module of a layer ends with a norm, too.
    """

    nonlin_attention: bool = True
    share_attention: bool = True
    bypass: bool = True
    norm: NormName = "bias_norm"
    activation: ActivationName = "swoosh"
    module_norms: bool = False

    @property
    def module_norm(self) -> NormName | None:
        """The norm at the end of every module of a layer; None if there is none."""
        return self.norm if self.module_norms else None

    @property
    def wide(self) -> Activation:
        """The activation between two projections: feed-forward modules, ConvNeXt."""
        return ops.swoosh_l if self.activation == "swoosh" else self.convolution

    @property
    def convolution(self) -> Activation:
        """The activation after convolutions."""
        return F.silu if self.activation == "swish" else ops.swoosh_r
