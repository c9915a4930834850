"""Samples as callers give them, checked once where they come in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from zipformer.data.sound_files import sample_fault

Samples = Tensor | np.ndarray | Sequence[float]


def checked_samples(samples: Samples, sample_rate: int | None, wanted: int) -> np.ndarray:
    """A copy of the samples as (N,) float32.

    Args:
        samples: (N,) floats in [-1, 1], any N.
        sample_rate: Of the samples in Hz, if it is to be checked.
        wanted: The rate that the model hears.

    Raises:
        ValueError: On samples that cannot be right: two channels, another rate, integers, NaN.
    """
    if sample_rate is not None and sample_rate != wanted:
        raise ValueError(
            f"the audio has {sample_rate} Hz, the model hears {wanted} Hz: resample it "
            "(zipformer.data.audio.resample)"
        )
    if isinstance(samples, Tensor):
        samples = samples.detach().cpu().numpy()
    array = np.asarray(samples)
    if array.ndim != 1:
        raise ValueError(
            f"a stream takes one channel, (N,) samples, got the shape {array.shape}: "
            "average the channels, or open a stream for each"
        )
    if array.dtype.kind != "f" and len(array):
        raise ValueError(
            f"samples must be floats in [-1, 1], got {array.dtype}: divide 16-bit integers by 32768"
        )
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"sample {bad} of {len(array)} is {array[bad]}: not a finite number")
    if fault := sample_fault(array):
        raise ValueError(f"the audio holds {fault}: divide by the largest value of its format")
    return array.astype(np.float32)
