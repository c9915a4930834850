"""The one feature extractor: preparation, training, decoding and streams all use it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from lhotse import Fbank, FbankConfig
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zipformer.context import FRAME_SECONDS

FRAME_LENGTH = 0.025  # seconds
MIN_SAMPLES = 200  # lhotse's extractor mirrors the ends of the audio, and fails below about 160


def make_extractor(
    sample_rate: int = 16000, num_features: int = 80, mirror_ends: bool = True
) -> Fbank:
    """Log mel filter bank energies with the settings of Kaldi and of the published recipes.

    Frames of 25 ms every 10 ms, a Povey window, pre-emphasis 0.97, no dither, filters from 20 Hz to
    400 Hz below half the sample rate, natural logarithm, energies floored at float32 epsilon
    (log: -15.94). The ends are mirrored (``snip_edges = False``), so N samples give
    N / (sample_rate / 100) frames, rounded; without ``mirror_ends`` only the frames that lie wholly
    inside the audio come out. Samples lie in [-1, 1].
    """
    config = FbankConfig(
        sampling_rate=sample_rate,
        num_filters=num_features,
        frame_length=FRAME_LENGTH,
        frame_shift=FRAME_SECONDS,
        window_type="povey",
        preemph_coeff=0.97,
        dither=0.0,
        snip_edges=not mirror_ends,
        low_freq=20.0,
        high_freq=-400.0,
    )
    return Fbank(config)


@lru_cache(maxsize=4)
def _shared_extractor(sample_rate: int, num_features: int, mirror_ends: bool) -> Fbank:
    with warnings.catch_warnings():  # without mirroring: that they would not fit a recording
        warnings.simplefilter("ignore")
        return make_extractor(sample_rate, num_features, mirror_ends)


def extract(
    samples: Tensor | np.ndarray, sample_rate: int = 16000, num_features: int = 80
) -> Tensor:
    """Features of one piece of audio.

    Args:
        samples: (N,) or (1, N) float32 in [-1, 1].
        sample_rate: Of the samples.
        num_features: Mel filters.

    Returns:
        (T, num_features) float32. Audio too short for the extractor is filled up with silence and
        gives the frames of its own length, at least one.

    Raises:
        ValueError: If there is more than one channel.
    """
    wave = torch.as_tensor(samples, dtype=torch.float32)
    wave = wave[0] if wave.ndim == 2 and len(wave) == 1 else wave
    if wave.ndim != 1:
        raise ValueError(f"features need one channel of audio, got the shape {tuple(wave.shape)}")
    extractor = _shared_extractor(sample_rate, num_features, mirror_ends=True)
    if wave.numel() >= MIN_SAMPLES:
        return extractor.extract(wave, sample_rate)
    padded = torch.nn.functional.pad(wave, (0, MIN_SAMPLES - wave.numel()))
    frames = round(wave.numel() / (sample_rate * FRAME_SECONDS))
    return extractor.extract(padded, sample_rate)[: max(frames, 1)]


def extract_inside(waves: Sequence[Tensor], sample_rate: int, num_features: int) -> list[Tensor]:
    """The features of those frames that lie wholly inside pieces of audio, all computed at once.

    Args:
        waves: Of each piece (N,) float32 in [-1, 1], at least a frame.
        sample_rate: Of the samples.
        num_features: Mel filters.

    Returns:
        (T, num_features) float32 of each piece.
    """
    extractor = _shared_extractor(sample_rate, num_features, mirror_ends=False).extractor
    frames = [_frames_inside(len(wave), sample_rate) for wave in waves]
    together = extractor(pad_sequence(list(waves), batch_first=True))
    return [features[:count] for features, count in zip(together, frames, strict=True)]


def _frames_inside(samples: int, sample_rate: int) -> int:
    length, shift = round(FRAME_LENGTH * sample_rate), round(FRAME_SECONDS * sample_rate)
    return max(0, (samples - length) // shift + 1)
