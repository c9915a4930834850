"""Similarity-preserving distillation: two networks shall find the same utterances alike.

Letters: B batch, T frames (or tokens), D channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.losses.checks import at_least_float


def similarity_distance(one: Tensor, other: Tensor, lengths: Tensor) -> Tensor:
    """Squared Frobenius distance of the two networks' similarity matrices, over B^2.

    A similarity matrix holds the inner products of all pairs of utterances of the minibatch, each
    utterance taken as one long vector, with rows of unit length (arXiv 1907.09682, section 3;
    between streaming and offline paths: arXiv 2405.13514).

    Args:
        one: (B, T, D), activations of one network.
        other: (B, T, D'), of the other.
        lengths: (B,) valid frames.

    Returns:
        A scalar; zero where the batch has one utterance.

    Raises:
        ValueError: If shapes do not fit together.
    """
    if one.ndim != 3 or one.shape[:2] != other.shape[:2] or lengths.shape != one.shape[:1]:
        raise ValueError(
            "activations must be (B, T, D) and lengths (B,), got "
            f"{tuple(one.shape)}, {tuple(other.shape)} and {tuple(lengths.shape)}"
        )
    padding = torch.arange(one.shape[1], device=one.device) >= lengths[:, None]
    with torch.autocast(one.device.type, enabled=False):
        difference = _similarities(one, padding) - _similarities(other, padding)
        return difference.square().sum() / max(one.shape[0], 1) ** 2


def _similarities(x: Tensor, padding: Tensor) -> Tensor:
    flat = at_least_float(x).masked_fill(padding.unsqueeze(2), 0.0).flatten(1)
    return F.normalize(flat @ flat.T, dim=1)
