"""What methods that encode a batch twice have in common.

Each encoding has the losses of its heads; what a method adds are terms between its two encodings of
a batch, which grow with the warm-up of the pruned loss, because a young lattice says little.

Letters: B batch, T encoder output frames, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zipformer.config import LossConfig, MethodConfig
from zipformer.context import Context
from zipformer.data.batch import Batch
from zipformer.losses import ctc_consistency
from zipformer.model import AsrModel, Heads
from zipformer.training.methods.base import StepInfo, StepLoss
from zipformer.training.methods.head_losses import (
    Computed,
    Targets,
    head_losses,
    make_targets,
    warmth,
)

Between = dict[str, tuple[float, Tensor]]  # name -> weight and distance


@dataclass
class Encoding:
    """One encoding of a batch, with the heads that hear it.

    Args:
        name: Prefix of its losses in the logs.
        weight: Of its losses.
        heads: Of the model, for this encoding.
        out: (B, T, D).
        targets: What is to be heard.
        computed: What a method has computed of its losses already.
    """

    name: str
    weight: float
    heads: Heads
    out: Tensor
    targets: Targets
    computed: Computed = field(default_factory=Computed)


def encode_twice(
    model: AsrModel, batch: Batch, step: StepInfo, settings: MethodConfig
) -> tuple[list[Encoding], Tensor]:
    """The batch in full and in streaming context, and the valid frames (B,) of both."""
    encodings: list[Encoding] = []
    for name, weight, context in (
        ("offline", settings.offline_weight, Context.full()),
        ("streaming", settings.streaming_weight, step.context),
    ):
        out, lengths = model.encoder(batch.features, batch.feature_lens, context, step.right_mode)
        heads = model.heads_at(context)
        if encodings and heads is encodings[0].heads:
            targets = encodings[0].targets
        else:
            targets = make_targets(heads, batch)
        encodings.append(Encoding(name, weight, heads, out, targets))
    return encodings, lengths


def ctc_distance(encodings: Sequence[Encoding], lengths: Tensor) -> Tensor:
    """Computes the CTC outputs of two encodings, and their consistency (a sum over frames)."""
    outputs = []
    for encoding in encodings:
        assert encoding.heads.ctc_output is not None, "the config asks for a CTC head"
        encoding.computed.log_probs = encoding.heads.ctc_output(encoding.out)
        outputs.append(encoding.computed.log_probs)
    one, other = outputs
    return ctc_consistency(one, other, lengths)


def sum_up(
    encodings: Sequence[Encoding],
    lengths: Tensor,
    between: Between,
    step: StepInfo,
    settings: LossConfig,
) -> StepLoss:
    """The weighted losses of the encodings, and of what lies between them."""
    total = torch.zeros((), device=lengths.device)
    parts: dict[str, Tensor] = {}
    for encoding in encodings:
        loss, found = head_losses(
            encoding.heads,
            encoding.out,
            lengths,
            encoding.targets,
            settings,
            step.step,
            encoding.computed,
        )
        total = total + encoding.weight * loss
        parts |= {f"{encoding.name}_{name}": value for name, value in found.items()}
    for name, (weight, distance) in between.items():
        total = total + warmth(settings, step.step) * weight * distance
        parts[name] = distance
    return StepLoss(total, parts, lengths.sum())
