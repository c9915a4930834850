"""The microphone of this machine, as samples at the rate of a model."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import soxr

PIECE_SECONDS = 0.1


@contextmanager
def microphone(sample_rate: int, device: str | None = None) -> Iterator[Iterator[np.ndarray]]:
    """Opens a microphone; the pieces come without end while it is open.

    Args:
        sample_rate: That the model hears, in Hz; a microphone of another rate is resampled.
        device: Its name or number, as ``python -m sounddevice`` lists them; None = the default.

    Yields:
        Pieces of (N,) float32 samples in [-1, 1], of 100 ms.

    Raises:
        ValueError: If there is none, or it cannot be opened.
        ImportError: If the package of the extra ``mic`` is missing.
    """
    sounddevice = _sounddevice()
    chosen = int(device) if device and device.isdecimal() else device
    heard: queue.Queue[np.ndarray] = queue.Queue()

    def take(samples: np.ndarray, *_: object) -> None:  # in a thread of sounddevice
        heard.put(samples[:, 0].copy())

    try:
        rate = round(sounddevice.query_devices(chosen, "input")["default_samplerate"])
        stream = sounddevice.InputStream(
            samplerate=rate,
            blocksize=round(PIECE_SECONDS * rate),
            device=chosen,
            channels=1,
            dtype="float32",
            callback=take,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise ValueError(
            f"no microphone ({error}): 'python -m sounddevice' lists what there is, and --device "
            "takes one of them"
        ) from error
    resampler = soxr.ResampleStream(rate, sample_rate, 1, "float32")

    def pieces() -> Iterator[np.ndarray]:
        while True:
            piece = heard.get()
            yield piece if rate == sample_rate else resampler.resample_chunk(piece)

    with stream:
        yield pieces()


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: without the library PortAudio
        raise ImportError(
            f"listening needs the package sounddevice and PortAudio ({error}): "
            "pip install -e '.[mic]' in this project's folder, on Linux libportaudio2 besides"
        ) from error
    module: ModuleType = sounddevice
    return module
