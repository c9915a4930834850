"""The level of a recording: its features as if it had been recorded louder or more softly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zipformer.data.seeds import uniform

FLOOR = math.log(torch.finfo(torch.float32).eps)  # the extractor's, of log energies


def change_level(features: Tensor, gain: float) -> Tensor:
    """The log mel energies of audio whose samples are multiplied by ``gain``.

    Exact but for what lies at the floor: sound that was too soft to be measured does not come back.

    Args:
        features: (T, F), from ``zipformer.data.features``.
        gain: Above 0.
    """
    return (features + 2.0 * math.log(gain)).clamp(min=FLOOR)


def draw_level(
    features: Tensor, gains: tuple[float, float], prob: float, generator: torch.Generator
) -> Tensor:
    """``change_level`` by a gain between ``gains``, whose logarithm is evenly spread.

    With equal gains of 1 nothing is drawn.

    Args:
        features: (T, F).
        gains: The least and the greatest.
        prob: Share of the utterances whose level changes.
        generator: Draws both.
    """
    if gains == (1.0, 1.0) or (prob < 1.0 and uniform(0.0, 1.0, generator) >= prob):
        return features
    low, high = map(math.log, gains)
    return change_level(features, math.exp(uniform(low, high, generator)))
