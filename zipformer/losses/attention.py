"""The loss of an attention decoder: cross-entropy with label smoothing.

Letters: B batch, U tokens, V vocabulary.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from zipformer.losses.checks import Reduction, at_least_float, reduce


def attention_loss(
    logits: Tensor,
    targets: Tensor,
    valid: Tensor,
    label_smoothing: float = 0.1,
    reduction: Reduction = "sum",
) -> Tensor:
    """Cross-entropy of a whole transcript, summed over its tokens, in float32 or more.

    With label smoothing s (Szegedy et al., arXiv 1512.00567, section 7) the target has the
    probability 1 - s, and s is spread evenly over the whole vocabulary.

    Args:
        logits: (B, U, V).
        targets: (B, U) int64; what is not valid may be any id.
        valid: (B, U) bool, the places that count.
        label_smoothing: s, in [0, 1).
        reduction: ``none``, ``sum`` or ``mean`` over the batch.

    Returns:
        (B,) or a scalar.

    Raises:
        ValueError: If shapes do not fit together.
    """
    if logits.ndim != 3 or not logits.shape[:2] == targets.shape == valid.shape:
        raise ValueError(
            f"logits must be (B, U, V), targets and valid (B, U), got {tuple(logits.shape)}, "
            f"{tuple(targets.shape)} and {tuple(valid.shape)}"
        )
    each = F.cross_entropy(
        at_least_float(logits).flatten(0, 1),
        targets.flatten(),
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return reduce(each.view_as(targets).masked_fill(~valid, 0.0).sum(dim=1), reduction)
