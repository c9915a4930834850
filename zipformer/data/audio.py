"""Samples out of sound files and out of the recordings of cuts; the one resampler.

Of several channels the rule is: a file that somebody wants transcribed is averaged, with a warning
if its channels differ; a cut of a corpus is refused, for nobody would notice a bad choice.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from lhotse.augmentation import Resample
from lhotse.cut import Cut
from torch import Tensor

from zipformer.data.manifests import UNREADABLE, source_of

logger = logging.getLogger(__name__)
MOVED = "python local/relocate.py FOLDER"
EQUAL_CHANNELS = 1e-3  # of full scale: what lossy formats leave between equal channels


class UnreadableCut(ValueError):
    """The audio or the features of a cut are missing or damaged.

    Args:
        message: Naming the cut and its file.
        cut_id: Of the cut.
    """

    def __init__(self, message: str, cut_id: str) -> None:
        super().__init__(message, cut_id)  # both, so that it can be sent between processes
        self.cut_id = cut_id

    def __str__(self) -> str:
        return str(self.args[0])

    @classmethod
    def of(cls, cut: Cut, error: Exception, source: str = "") -> UnreadableCut:
        """Names the cut and its file, the source of its audio by default."""
        advice = "mend or remove it and run the preparation again"
        place = Path(source or source_of(cut))
        if place.is_absolute() and not place.parent.exists():
            advice = f"if the folder was moved, {MOVED} writes the new one into the manifests"
        return cls(
            f"cut {cut.id}: {place} cannot be read ({type(error).__name__}); {advice}",
            cut.id,
        )


def read_audio(path: Path, sample_rate: int = 16000) -> Tensor:
    """Reads a file as ``read_file`` does and brings it to ``sample_rate``, in Hz.

    Returns:
        (N,) float32 samples, full scale at +-1.
    """
    samples, rate = read_file(path)
    return torch.from_numpy(resample(samples, rate, sample_rate))


def read_file(path: Path) -> tuple[np.ndarray, int]:
    """Reads a file and averages its channels to one, with a warning if they differ.

    Args:
        path: Any format that libsndfile reads: wav, flac, mp3, ogg, opus, aiff, ...

    Returns:
        (N,) float32 samples, full scale at +-1, and their rate in Hz.

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
            f"'ffmpeg -i {path.name} -ac 1 {path.stem}.wav'"
        ) from error
    if not samples.size:
        raise ValueError(f"{path}: holds no audio")
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: holds samples that are not finite numbers")
    if np.abs(samples - samples[:, :1]).max() > EQUAL_CHANNELS:
        logger.warning("%s: its %d channels differ; their average is heard", path, samples.shape[1])
    return samples.mean(axis=1), rate


def cut_samples(cut: Cut, sample_rate: int) -> np.ndarray:
    """Reads the recording of a cut.

    Args:
        cut: Of a corpus; stored features are not used.
        sample_rate: That the cut must have, in Hz.

    Returns:
        (N,) float32 samples, full scale at +-1.

    Raises:
        ValueError: If the cut has no recording, another sample rate or several channels.
        UnreadableCut: If the recording is missing or damaged. Both name the cut and its file.
    """
    if not cut.has_recording:
        raise ValueError(f"cut {cut.id} has no recording, and its audio is needed here")
    check_sample_rate(cut, sample_rate)
    check_one_channel(cut)
    if not cut.num_samples:
        return np.zeros(0, np.float32)
    try:
        samples: np.ndarray = cut.load_audio()[0]  # (1, N)
    except UNREADABLE as error:
        raise UnreadableCut.of(cut, error) from error
    return samples


def check_sample_rate(cut: Cut, sample_rate: int) -> None:
    """Refuses a cut of another sample rate, in Hz.

    Raises:
        ValueError: Naming the cut, its file, both rates and what to do.
    """
    if cut.sampling_rate != sample_rate:
        raise ValueError(
            f"cut {cut.id} ({source_of(cut)}) has a sample rate of {cut.sampling_rate} Hz, "
            f"data.sample_rate is {sample_rate} Hz: resample in preparation "
            "(local/compute_fbank.py does)"
        )


def check_one_channel(cut: Cut) -> None:
    """Refuses a cut of several channels.

    Raises:
        ValueError: Naming the cut, its file and what to do.
    """
    if cut.num_channels > 1:
        raise ValueError(
            f"cut {cut.id} ({source_of(cut)}) has {cut.num_channels} channels, but a model hears "
            "one: prepare cuts of one channel each (lhotse's cut.to_mono() makes one of every "
            "channel), or mix the files down"
        )


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Brings samples to another rate with soxr, in its quality "HQ".

    Args:
        samples: (N,) or (channels, N).
        rate: Theirs, in Hz.
        new_rate: In Hz; samples that have it already are returned as they are.

    Returns:
        (M,) or (channels, M) float32, where M is N * new_rate / rate, rounded.
    """
    samples = samples.astype(np.float32, copy=False)
    if rate == new_rate:
        return samples
    return np.ascontiguousarray(soxr.resample(samples.T, rate, new_rate).T)


def _resample_cut(marked: Resample, samples: np.ndarray, *_: object) -> np.ndarray:
    """(channels, N) to (channels, M), as ``cut.resample`` has marked the recording of a cut."""
    return resample(samples, marked.source_sampling_rate, marked.target_sampling_rate)


# A cut that is marked to be resampled is resampled by lhotse when it is read, with scipy or, where
# torchaudio is installed, with another method. It has no setting for a resampler of one's own.
Resample.__call__ = _resample_cut
