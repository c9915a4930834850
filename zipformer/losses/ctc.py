"""Connectionist temporal classification, on top of torch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.losses.lattice import Reduction, reduce


def ctc_loss(
    log_probs: Tensor,
    lengths: Tensor,
    tokens: list[list[int]],
    blank: int = 0,
    reduction: Reduction = "sum",
) -> Tensor:
    """CTC loss (Graves et al., ICML 2006).

    An utterance with fewer frames than its tokens need has no alignment; it counts zero and has no
    gradient.

    Args:
        log_probs: (B, T, V), normalised.
        lengths: (B,) valid frames.
        tokens: Token ids of each utterance.
        blank: Id of the blank.
        reduction: ``none``, ``sum`` or ``mean`` over the batch.

    Returns:
        (B,) or a scalar.
    """
    targets = torch.tensor([i for ids in tokens for i in ids], dtype=torch.long)
    target_lengths = torch.tensor([len(ids) for ids in tokens], dtype=torch.long)
    loss = F.ctc_loss(
        log_probs.float().transpose(0, 1),
        targets.to(log_probs.device),
        lengths.cpu(),
        target_lengths,
        blank=blank,
        reduction="none",
        zero_infinity=True,
    )
    return reduce(loss, reduction)
