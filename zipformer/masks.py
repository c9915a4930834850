"""The only place where a mask is built. True = valid, or may attend.

Letters: B batch, T frames, K windows, C chunk, W window (chunk and right context), L left context;
all counted at the frame rate of whoever asks.
"""

from __future__ import annotations

import torch
from torch import Tensor


def valid_frames(lengths: Tensor, num_frames: int) -> Tensor:
    """Which frames belong to the utterance.

    Args:
        lengths: (B,) valid frames; negative means none.
        num_frames: T.

    Returns:
        (B, T) bool.

    Example:
        >>> valid_frames(torch.tensor([2, 0]), 3).int().tolist()
        [[1, 1, 0], [0, 0, 0]]
    """
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


def valid_window_frames(lengths: Tensor, num_windows: int, chunk: int, size: int) -> Tensor:
    """Which frames of overlapping windows belong to the utterance.

    Window k covers frames [k C, k C + W).

    Args:
        lengths: (B,) valid frames.
        num_windows: K.
        chunk: C, the step from one window to the next.
        size: W.

    Returns:
        (B, K, W) bool.
    """
    starts = chunk * torch.arange(num_windows, device=lengths.device)
    return valid_frames((lengths[:, None] - starts).flatten(), size).view(-1, num_windows, size)


def valid_left_frames(processed: Tensor, num_windows: int, chunk: int, left: int) -> Tensor:
    """Which frames of each window's left context exist: none before the utterance began.

    Args:
        processed: (B,) frames that came before window 0.
        num_windows: K.
        chunk: C.
        left: L.

    Returns:
        (B, K, L) bool; the last ``processed + k C`` frames of row k are True.
    """
    starts = chunk * torch.arange(num_windows, device=processed.device)
    before = processed[:, None] + starts  # (B, K) frames before each window
    distance = torch.arange(left, 0, -1, device=processed.device)  # to the start of the window
    return distance <= before[..., None]


def chunk_mask(
    num_frames: int, chunk: int, left: int, right: int, device: torch.device | None = None
) -> Tensor:
    """Which keys each query sees when chunked attention runs over a plain utterance.

    A query sees its own chunk whole, ``left`` frames before the chunk and ``right`` after it.

    Args:
        num_frames: T.
        chunk: C, at least 1.
        left: L; -1 for everything before.
        right: R.
        device: Where to build it.

    Returns:
        (T, T) bool, rows are queries. The diagonal is True, so no row is empty.

    Example:
        >>> chunk_mask(4, chunk=2, left=0, right=1).int().tolist()
        [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    """
    frame = torch.arange(num_frames, device=device)
    start = (frame // chunk * chunk)[:, None]  # (T, 1) of the query's chunk
    visible = frame < start + chunk + right
    return visible if left < 0 else visible & (frame >= start - left)
