"""Sound files of any kind as the samples that the models were trained on."""

from __future__ import annotations

from math import gcd
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly
from torch import Tensor


def read_audio(path: Path, sample_rate: int = 16000) -> Tensor:
    """Reads a file, mixes its channels to one and brings it to ``sample_rate``.

    Args:
        path: Any format that libsndfile reads: wav, flac, mp3, ogg, opus, aiff, ...
        sample_rate: In Hz.

    Returns:
        (N,) float32 samples, full scale at +-1.

    Raises:
        ValueError: If the file is missing, is no audio, is damaged, or holds none, naming it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)  # (N, channels)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{path}: cannot be read as audio ({error}); convert it, for example with "
            f"'ffmpeg -i {path.name} -ar {sample_rate} -ac 1 {path.stem}.wav'"
        ) from error
    if not samples.size:
        raise ValueError(f"{path}: holds no audio")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: holds samples that are not finite numbers")
    return torch.from_numpy(resample(samples.mean(axis=1), rate, sample_rate))


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """(N,) at ``rate`` -> (ceil(N * new_rate / rate),) float32 at ``new_rate``, in Hz."""
    if rate != new_rate:
        common = gcd(rate, new_rate)
        samples = resample_poly(samples, new_rate // common, rate // common)
    return samples.astype(np.float32, copy=False)
