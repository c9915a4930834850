"""Samples out of the recordings of cuts; the one resampler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
from lhotse.augmentation import Resample
from lhotse.cut import Cut

from zipformer.data.manifests import UNREADABLE, source_of
from zipformer.data.sound_files import sample_fault

MOVED = "python local/relocate.py FOLDER"


class UnreadableCut(ValueError):
    """The audio or the features of a cut are missing or damaged.

    Args:
        message: Naming the cut and its file.
        cut_id: Of the cut.
        fault: What is wrong with its samples, if they can be read, or that there is no folder.
    """

    def __init__(self, message: str, cut_id: str, fault: str = "") -> None:
        super().__init__(message, cut_id, fault)  # all, so that it can be sent between processes
        self.cut_id, self.fault = cut_id, fault

    def __str__(self) -> str:
        return str(self.args[0])

    @classmethod
    def of(cls, cut: Cut, error: Exception, source: str = "") -> UnreadableCut:
        """Names the cut and its file, the source of its audio by default."""
        advice, fault = "mend or remove it and run the preparation again", ""
        place = Path(source or source_of(cut))
        if place.is_absolute() and not place.parent.exists():
            advice = f"if the folder was moved, {MOVED} writes the new one into the manifests"
            fault = f"no such folder (if it was moved: {MOVED})"
        return cls(
            f"cut {cut.id}: {place} cannot be read ({type(error).__name__}); {advice}",
            cut.id,
            fault,
        )


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
    if fault := sample_fault(samples):
        raise UnreadableCut(f"cut {cut.id}: {source_of(cut)} holds {fault}", cut.id, fault)
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
