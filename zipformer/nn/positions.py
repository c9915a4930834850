"""Relative positions of keys and queries, for the attention of every encoder.

Letters: W frames of a window, L left context, A frames looked ahead, S = L + W + A keys.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zipformer.nn.layout import Layout


class RelativePositions(nn.Module):
    """Encodes how far a key lies from a query, finely when near and coarsely when far.

    An offset x is compressed to c sign(x) (log(|x| + c) - log c), c = sqrt(dim), then to an angle
    by atan; the encoding holds cosines and sines of its multiples, and a constant 1 at the end.

    Args:
        dim: Size of the encoding, even.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.dropout = nn.Dropout(0.15)

    def forward(self, layout: Layout, like: Tensor) -> Tensor:
        """Encodings of the offsets key - query from -(L + W - 1) to W + A.

        Args:
            layout: Gives W, L and A.
            like: A tensor whose device and type the result takes.

        Returns:
            (S + W, dim). The last row is never looked at; it makes ``relative_shift`` a view.
        """
        first, last = 1 - layout.left - layout.size, layout.size + layout.ahead
        offset = torch.arange(first, last + 1, device=like.device, dtype=torch.float32)
        compression = math.sqrt(self.dim)
        compressed = compression * offset.sign() * torch.log1p(offset.abs() / compression)
        angle = torch.atan(compressed * (2.0 * math.pi / self.dim))
        multiples = angle[:, None] * torch.arange(1, self.dim // 2 + 1, device=like.device)
        encoding = torch.stack([multiples.cos(), multiples.sin()], dim=-1).flatten(1)
        encoding[:, -1] = 1.0
        return self.dropout(encoding.to(like.dtype))


def relative_shift(scores: Tensor, num_keys: int) -> Tensor:
    """Aligns scores by offset to scores by key.

    Args:
        scores: (..., W, S + W), column r belongs to the offset r - (L + W - 1) from the query.
        num_keys: S.

    Returns:
        (..., W, S), column j belongs to key j, where query i is at key L + i. Reading the rows
        one column shorter shifts each by one more, so that this is a view.
    """
    queries, columns = scores.shape[-2:]
    flat = scores.flatten(-2)
    first = queries - 1  # query 0 has W - 1 offsets to the left of its first key
    flat = flat[..., first : first + queries * (columns - 1)]
    return flat.unflatten(-1, (queries, columns - 1))[..., :num_keys]
