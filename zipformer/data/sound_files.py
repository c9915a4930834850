"""Samples out of sound files, in blocks: no header is believed, and an hour takes little memory.

Of several channels the rule is: a file that somebody wants transcribed is averaged, with a warning
if its channels differ, unless one is asked for; in a corpus it is left out unless one is asked for,
for nobody would notice a bad choice there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

BLOCK = 1 << 20  # samples decoded at a time
EQUAL_CHANNELS = 1e-3  # of full scale: what lossy formats leave between equal channels
# Of full scale, which loud mixes and lossy formats exceed a little. What lies beyond is on another
# scale, as samples of 16 bits that were written as floats.
LARGEST_SAMPLE = 4.0
TOLERANCE = 2304  # samples, two frames of MP3, by which a header may be off
UNKNOWN_LENGTH = 1 << 31  # samples from which on a header says nothing

# What libsndfile does not read, by the bytes at a place of the file, whatever it is called.
FOREIGN = {
    (4, b"ftyp"): "MP4 or M4A",
    (0, b"\x1aE\xdf\xa3"): "WebM or Matroska",
    (0, b"0&\xb2u\x8ef\xcf\x11"): "WMA",
    (0, b"#!AMR"): "AMR",
    (0, b"\xff\xf1"): "AAC",
    (0, b"\xff\xf9"): "AAC",
    (0, b"ajkg"): "Shorten",
    (0, b"NIST_1A"): "compressed SPHERE",  # others are read
}
HEADERLESS = (".raw", ".pcm")


def foreign_format(path: Path) -> str:
    """What a file that cannot be read is, if it is audio of a kind that is known; else empty."""
    with open(path, "rb") as file:
        head = file.read(16)
    for (place, magic), name in FOREIGN.items():
        if head[place:].startswith(magic):
            return name
    return "audio without a header" if path.suffix.lower() in HEADERLESS else ""


def sample_fault(samples: np.ndarray) -> str:
    """What is wrong with samples, whatever they come from; empty if nothing is."""
    if not samples.size:
        return ""
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite(low + high):
        return "samples that are not finite numbers"
    if max(high, -low) > LARGEST_SAMPLE:
        return f"samples far beyond full scale, +-1 (up to {max(high, -low):.0f})"
    return ""


def read_audio(path: Path, sample_rate: int = 16000, channel: int | None = None) -> Tensor:
    """Reads a file and brings it to ``sample_rate``.

    Args:
        path: Any format that libsndfile reads: wav, flac, mp3, ogg, opus, aiff, ...
        sample_rate: In Hz.
        channel: Which one of several is heard, from 0; None for their average, with a warning if
            they differ.

    Returns:
        (N,) float32 samples, full scale at +-1.

    Raises:
        ValueError: If the file is missing, is no audio, is damaged, holds none or samples that
            cannot be right, or lacks the channel, naming it. A file that ends early is heard, with
            a warning.
    """
    with _opened(path) as file:
        blocks = _one_channel(file, path, channel)
        samples = _joined(_resampled(blocks, file.samplerate, sample_rate), path)
    return torch.from_numpy(samples)


def read_file(path: Path) -> tuple[np.ndarray, int]:
    """(N,) float32 samples of a file as they are, and their rate in Hz; else as ``read_audio``."""
    with _opened(path) as file:
        return _joined(_one_channel(file, path, None), path), file.samplerate


def num_channels(path: Path) -> int:
    """How many channels a file has; raises as ``read_audio``."""
    with _opened(path) as file:
        count: int = file.channels
        return count


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """The file; what libsndfile says of it while it is read becomes an error that names it."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        with soundfile.SoundFile(path) as file:
            yield file
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        what = foreign_format(path) or error
        raise ValueError(
            f"{path}: cannot be read as audio ({what}); convert it, for example with "
            f"'ffmpeg -i {path.name} -ac 1 {path.stem}.wav'"
        ) from error


def _one_channel(
    file: soundfile.SoundFile, path: Path, channel: int | None
) -> Iterator[np.ndarray]:
    """(N,) samples at the file's rate, block by block."""
    if channel is not None and channel >= file.channels:
        raise ValueError(f"{path}: there is no channel {channel}; it has {file.channels}, from 0")
    count, differs = 0, False
    while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):  # (N, channels)
        count += len(block)
        if fault := sample_fault(block):
            raise ValueError(f"{path}: holds {fault}")
        differs |= bool(np.abs(block - block[:, :1]).max() > EQUAL_CHANNELS)
        yield block.mean(axis=1) if channel is None else block[:, channel]
    if differs and channel is None:
        logger.warning(
            "%s: its %d channels differ; their average is heard (--channel each hears them apart)",
            path,
            file.channels,
        )
    if count + TOLERANCE < file.frames < UNKNOWN_LENGTH:
        logger.warning(
            "%s ends early: %d of the %d samples that it announces", path, count, file.frames
        )


def _joined(blocks: Iterator[np.ndarray], path: Path) -> np.ndarray:
    """All blocks as one, (N,) float32: never twice in memory, as a list of them would be."""
    samples = bytearray()  # the system moves it without copying when it grows
    for block in blocks:
        samples += block.astype(np.float32, copy=False).tobytes()
    if not samples:
        raise ValueError(f"{path}: holds no audio")
    return np.frombuffer(samples, np.float32)


def _resampled(blocks: Iterator[np.ndarray], rate: int, new_rate: int) -> Iterator[np.ndarray]:
    """The blocks at another rate: together what ``resample`` makes of them together."""
    if rate == new_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
