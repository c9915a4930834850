"""Features of audio that is still arriving, equal to those of the whole utterance.

Frame t covers the samples from 160 t - 120 to 160 t + 280 (at 16 kHz). Where that reaches beyond
an end of the audio the samples are mirrored there: at the beginning once enough of them are known,
at the end when the input is said to have ended. Only samples that a later frame needs are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from zipformer.context import FRAME_SECONDS
from zipformer.data.features import FRAME_LENGTH, extract, extract_inside


class FeatureStream:
    """Turns samples into features as they come.

    Args:
        sample_rate: In Hz.
        num_features: Mel filters.
    """

    def __init__(self, sample_rate: int = 16000, num_features: int = 80) -> None:
        self.sample_rate, self.num_features = sample_rate, num_features
        self._shift = round(FRAME_SECONDS * sample_rate)
        self._length = round(FRAME_LENGTH * sample_rate)
        self._mirrored = (self._length - self._shift) // 2  # samples of frame 0 before the audio
        self._pieces: list[np.ndarray] = []  # from the beginning of the next frame on
        self._size = 0  # samples in the pieces
        self._total = 0
        self._taken = 0
        self._ended = False

    @property
    def num_samples(self) -> int:
        """Samples heard so far."""
        return self._total

    @property
    def ready(self) -> int:
        """Frames that ``take`` would return."""
        if self._ended:
            return self._num_frames() - self._taken
        front = 0 if self._taken else self._mirrored
        return max(0, (self._size + front - self._length) // self._shift + 1)

    def accept(self, samples: np.ndarray) -> None:
        """Adds (N,) float32 samples in [-1, 1]; N may be anything."""
        assert not self._ended, "the input has ended"
        if len(samples):
            self._pieces.append(samples)
            self._size += len(samples)
            self._total += len(samples)

    def finish(self) -> None:
        """Says that the input has ended: the last frames are ready now."""
        self._ended = True

    def take(self) -> Tensor:
        """The features of all frames that are ready and were not taken before.

        Returns:
            (n, num_features) float32.
        """
        return take_together([self])[0]

    def pop(self) -> np.ndarray:
        """The (N,) samples that the frames which are ready lie in, wholly; they are taken then."""
        assert not self.is_whole, "its ends are mirrored by the extractor"
        count = self.ready
        if count <= 0:
            return np.zeros(0, np.float32)
        samples = np.concatenate(self._pieces)
        if not self._taken:
            samples = np.concatenate([samples[: self._mirrored][::-1], samples])
        end = (count - 1) * self._shift + self._length
        if self._ended:
            samples = np.concatenate(
                [samples, samples[len(samples) - (end - len(samples)) :][::-1]]
            )
        self._keep(samples[count * self._shift :])
        self._taken += count
        return samples[:end]

    @property
    def is_whole(self) -> bool:
        """Whether nothing was taken, and nothing will follow: it is a recording as any other."""
        return self._ended and not self._taken

    def pop_whole(self) -> np.ndarray:
        """The (N,) samples of a whole recording; they are taken then."""
        samples = np.concatenate([*self._pieces, np.zeros(0, np.float32)])
        self._taken = self.ready
        self._keep(samples[:0])
        return samples

    def _num_frames(self) -> int:
        """Of the whole audio: one for every 10 ms, rounded; at least one, as ``extract`` does."""
        return max(1, (self._total + self._shift // 2) // self._shift)

    def _keep(self, samples: np.ndarray) -> None:
        self._pieces, self._size = [samples.copy()], len(samples)


def take_together(streams: Sequence[FeatureStream]) -> list[Tensor]:
    """``FeatureStream.take`` of many streams of one kind, computed at once.

    Returns:
        (n, num_features) of each.
    """
    rate, width = streams[0].sample_rate, streams[0].num_features
    found = [torch.zeros(0, width)] * len(streams)
    waves: dict[int, Tensor] = {}
    for i, stream in enumerate(streams):
        if stream.is_whole:
            found[i] = extract(stream.pop_whole(), rate, width)
        elif len(wave := stream.pop()):
            waves[i] = torch.from_numpy(wave)
    if waves:
        for i, features in zip(
            waves, extract_inside(list(waves.values()), rate, width), strict=True
        ):
            found[i] = features
    return found
