"""Connectionist temporal classification, on top of torch's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer import waits
from zipformer.losses.checks import Reduction, at_least_float, reduce


def ctc_loss(
    log_probs: Tensor,
    lengths: Sequence[int],
    tokens: Tensor,
    token_lens: Sequence[int],
    blank: int = 0,
    reduction: Reduction = "sum",
) -> Tensor:
    """CTC loss (Graves et al., ICML 2006), computed in float32 or more.

    An utterance with fewer frames than its tokens need (one each, and one between equal
    neighbours) has no alignment; it counts zero and has no gradient, unlike in torch, where it
    makes the loss of the whole batch infinite.

    Args:
        log_probs: (B, T, V), normalised.
        lengths: B valid frames, as plain numbers: torch's loss plans by them on the CPU.
        tokens: (B, U) int64 on the device of ``log_probs``; padding may hold anything.
        token_lens: B valid tokens, as plain numbers.
        blank: Id of the blank.
        reduction: ``none``, ``sum`` or ``mean`` over the batch.

    Returns:
        (B,) or a scalar.

    Raises:
        ValueError: If shapes do not fit together.
    """
    batch = log_probs.shape[0]
    if log_probs.ndim != 3 or tokens.ndim != 2:
        batch = -1
    if not batch == len(tokens) == len(lengths) == len(token_lens):
        raise ValueError(
            f"log_probs must be (B, T, V), tokens (B, U) and both lengths B numbers, got "
            f"{tuple(log_probs.shape)}, {tuple(tokens.shape)}, {len(lengths)} and {len(token_lens)}"
        )
    log_probs = at_least_float(log_probs)
    if batch == 0:
        return reduce(log_probs.sum(dim=(1, 2)), reduction)
    with waits.expected():  # on CUDA torch copies the lengths to the device, and waits for that
        loss = torch.ctc_loss(
            log_probs.transpose(0, 1),
            tokens,
            list(lengths),
            list(token_lens),
            blank,
            reduction=0,  # none
            zero_infinity=True,
        )
    return reduce(loss, reduction)


def ctc_consistency(one: Tensor, other: Tensor, lengths: Tensor) -> Tensor:
    """(KL(one || other) + KL(other || one)) / 2 of each frame, the first of each pair as a target.

    The consistency of CR-CTC (arXiv 2410.05101, section 3.2): no gradient flows into a target.

    Args:
        one, other: (B, T, V), log-probabilities of two views of the same utterances.
        lengths: (B,) valid frames.

    Returns:
        A scalar, the sum over frames and utterances.

    Raises:
        ValueError: If shapes do not fit together.
    """
    if one.ndim != 3 or one.shape != other.shape or lengths.shape != one.shape[:1]:
        raise ValueError(
            f"log-probabilities must be (B, T, V) twice and lengths (B,), got {tuple(one.shape)}, "
            f"{tuple(other.shape)} and {tuple(lengths.shape)}"
        )
    one, other = at_least_float(one), at_least_float(other)
    padding = torch.arange(one.shape[1], device=one.device) >= lengths.to(one.device)[:, None]
    apart = sum(
        F.kl_div(student, target.detach(), reduction="none", log_target=True).sum(dim=2)
        for target, student in ((one, other), (other, one))
    )
    return 0.5 * torch.as_tensor(apart).masked_fill(padding, 0.0).sum()
