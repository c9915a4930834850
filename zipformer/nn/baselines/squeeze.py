"""Squeeze-and-excitation that has heard no more than its context allows.

Letters: B batch, K windows, W frames of a window, C chunk, R right context, D channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zipformer.nn.layout import Layout


class SqueezeExcitation(nn.Module):
    """Scales channels by what their averages over time say.

    The average of a window runs over everything from the beginning of the utterance to the end of
    the window: chunk parts of the windows before it, and the window itself. In the masked view it
    ends R after the chunk; with full context it is that of the utterance.

    Args:
        channels: D.
        squeeze: D divided by this is the width between the projections.
    """

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(channels, channels // squeeze)
        self.out_proj = nn.Linear(channels // squeeze, channels)

    def forward(
        self, x: Tensor, layout: Layout, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(B, K, W, D), state (B, D), the sum over the frames before -> (B, K, W, D), state."""
        frames = x if layout.valid is None else x.masked_fill(~layout.valid, 0.0)
        frames = frames.float()  # sums over minutes
        if layout.mask_sizes is not None:
            chunk, _, right = layout.mask_sizes
            mean = _mean_up_to_chunks(frames.squeeze(1), layout, chunk, right)  # (B, chunks, D)
            scale = self._scale(mean.to(x.dtype)).repeat_interleave(chunk, dim=1)
            return x * scale[:, None, : x.shape[2]], state
        if layout.ahead > 0:
            mean = _mean_up_to_chunks(layout.chunks(frames), layout, layout.chunk, layout.ahead)
            return x * self._scale(mean.to(x.dtype)).unsqueeze(2), state
        mean, state = _mean_up_to_windows(frames, layout, state)
        return x * self._scale(mean.to(x.dtype)), state

    def _scale(self, mean: Tensor) -> Tensor:
        return torch.sigmoid(self.out_proj(F.silu(self.in_proj(mean))))


def _mean_up_to_windows(x: Tensor, layout: Layout, total: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, K, W, D), zero where invalid -> means (B, K, 1, D), and sums over all chunks (B, D)."""
    chunks = x[:, :, : layout.chunk].sum(dim=2)  # (B, K, D)
    up_to = chunks.cumsum(dim=1)
    if total is not None:
        up_to = up_to + total.unsqueeze(1)
    heard = up_to - chunks + x.sum(dim=2)
    count = layout.chunk * torch.arange(layout.num_windows, device=x.device)
    if layout.processed is not None:
        count = count + layout.processed.unsqueeze(1)
    valid = layout.valid
    count = count + (layout.size if valid is None else valid.sum(dim=(2, 3)))  # (B, K)
    mean = heard / count.clamp(min=1).view(-1, layout.num_windows, 1)
    return mean.unsqueeze(2), up_to[:, -1]


def _mean_up_to_chunks(x: Tensor, layout: Layout, chunk: int, right: int) -> Tensor:
    """(B, T, D), zero where invalid -> (B, chunks, D), means up to R after each chunk."""
    assert layout.lengths is not None
    frames = x.shape[1]
    ends = torch.arange(chunk, frames + chunk, chunk, device=x.device) + right  # (chunks,)
    heard = x.cumsum(dim=1).index_select(1, ends.clamp(max=frames) - 1)
    count = ends.minimum(layout.lengths.unsqueeze(1)).clamp(min=1)  # (B, chunks)
    return heard / count.unsqueeze(2)
