"""SpecAugment: features bent and masked at random (arXiv 1904.08779).

Everything is drawn from a generator that the caller seeds.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer.config import SpecAugmentConfig
from zipformer.data.seeds import integer, uniform


class SpecAugment:
    """Time warping, then frequency masks, then time masks, on one utterance at a time.

    Masked regions take the mean of the utterance. Short utterances get fewer and narrower time
    masks: together they cover at most ``max_time_share`` of the frames.
    """

    def __init__(self, config: SpecAugmentConfig) -> None:
        self.config = config

    def __call__(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """(T, F) -> (T, F), a new tensor, or the same one if nothing was drawn."""
        if uniform(0.0, 1.0, generator) >= self.config.prob:
            return features
        return self._masked(warp_time(features, self.config.time_warp, generator), generator)

    def views(self, features: Tensor, generator: torch.Generator) -> list[Tensor]:
        """(T, F) ``config.views`` times: warped alike, so that frames match, and masked apart."""
        if self.config.views == 1:
            return [self(features, generator)]
        if uniform(0.0, 1.0, generator) < self.config.prob:
            features = warp_time(features, self.config.time_warp, generator)
        return [
            self._masked(features, generator)
            if uniform(0.0, 1.0, generator) < self.config.prob
            else features
            for _ in range(self.config.views)
        ]

    def _masked(self, features: Tensor, generator: torch.Generator) -> Tensor:
        config = self.config
        num_frames, num_bins = features.shape
        mean = features.mean()
        masked = torch.zeros(num_frames, num_bins, dtype=torch.bool)
        for _ in range(config.freq_masks):
            start, end = _draw_span(min(config.max_freq_width, num_bins), num_bins, generator)
            masked[:, start:end] = True
        count, widest = self._time_masks(num_frames)
        for _ in range(count):
            start, end = _draw_span(widest, num_frames, generator)
            masked[start:end] = True
        return torch.where(masked, mean, features)

    def _time_masks(self, num_frames: int) -> tuple[int, int]:
        """How many time masks, and the widest they may be."""
        config = self.config
        most = config.max_time_share * num_frames  # frames masked in all
        if config.time_masks == 0 or config.max_time_width == 0 or most < 1:
            return 0, 0
        count = min(config.time_masks, math.ceil(most / config.max_time_width))
        return count, min(config.max_time_width, int(most // count))


def _draw_span(widest: int, size: int, generator: torch.Generator) -> tuple[int, int]:
    """Start and end of a mask of 0 to ``widest`` out of ``size`` places."""
    width = integer(0, widest, generator)
    start = integer(0, size - width, generator)
    return start, start + width


def warp_time(features: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Moves a random frame by up to ``most`` frames, stretching one side and squeezing the other.

    Args:
        features: (T, F).
        most: Frames; 0 for no warping. Utterances of 2 * most + 2 frames or fewer stay as they are.
        generator: To draw from.

    Returns:
        (T, F), interpolated by cubic splines in time.
    """
    num_frames, num_bins = features.shape
    if most < 1 or num_frames <= 2 * most + 2:
        return features
    center = integer(most + 1, num_frames - most - 1, generator)
    moved = center + integer(-most, most, generator)
    if moved == center:
        return features

    def stretch(part: Tensor, length: int) -> Tensor:
        size = (length, num_bins)
        return F.interpolate(part[None, None], size=size, mode="bicubic", align_corners=False)[0, 0]

    left, right = features[:center], features[center:]
    return torch.cat([stretch(left, moved), stretch(right, num_frames - moved)])
