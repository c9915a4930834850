"""Noise mixed into training utterances, as audio or as stored features."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from lhotse.cut import Cut

from zipformer.context import FRAME_SECONDS
from zipformer.data.audio import check_one_channel
from zipformer.data.manifests import read_cuts
from zipformer.data.seeds import integer, uniform


class NoiseMixer:
    """Lays random noise cuts under a share of the utterances.

    Args:
        path: Manifest of the noise; its transcripts, if any, are ignored.
        prob: Share of the utterances that get noise.
        snr: Least and greatest signal-to-noise ratio in decibels.
        sample_rate: Of the utterances, in Hz; noise of another one is resampled.

    Raises:
        FileNotFoundError: If there is no such manifest.
        ValueError: If it holds no cut that is long enough, or one of several channels or with
            stored features of another rate.
    """

    def __init__(
        self, path: Path, prob: float, snr: tuple[float, float], sample_rate: int = 16000
    ) -> None:
        self.path = path
        self.prob = prob
        self.snr = snr
        self.noises: list[Cut] = [
            cut.drop_supervisions() for cut in read_cuts(path) if cut.duration >= 1.0
        ]
        if not self.noises:
            raise ValueError(f"{path} holds no noise of a second or more (data.noise)")
        self.noises = [self._at_rate(noise, sample_rate) for noise in self.noises]

    def _at_rate(self, noise: Cut, sample_rate: int) -> Cut:
        """Noise of one channel at a rate, in Hz; stored features must have it already."""
        check_one_channel(noise)
        if noise.sampling_rate == sample_rate:
            return noise
        if noise.has_features:
            raise ValueError(
                f"{self.path}: noise {noise.id} has features of audio at {noise.sampling_rate} Hz, "
                f"data.sample_rate is {sample_rate} Hz: compute them with local/compute_fbank.py"
            )
        return noise.resample(sample_rate)

    def __call__(self, cut: Cut, generator: torch.Generator) -> Cut:
        """The cut, mixed or not; a mixed one keeps its id, duration and transcript.

        A cut with stored features gets the stored features of the noise, one without gets audio.

        Raises:
            ValueError: If the noise lacks what the cut has.
        """
        if uniform(0.0, 1.0, generator) >= self.prob:
            return cut
        snr = uniform(*self.snr, generator)
        mixed, position = cut, 0.0
        while cut.duration - position >= FRAME_SECONDS:
            noise = self._piece(cut.duration - position, cut.has_features, generator)
            # lhotse compares mean powers of audio, but sums of the powers of features.
            share = noise.duration / cut.duration if cut.has_features else 1.0
            level = snr - 10.0 * math.log10(share)
            mixed = mixed.mix(noise, offset_other_by=position, snr=level, preserve_id="left")
            position = round(position + noise.duration, 6)
        return mixed

    def _piece(self, longest: float, as_features: bool, generator: torch.Generator) -> Cut:
        """Some part of some noise, in whole frames, of at most ``longest`` seconds."""
        noise = self.noises[integer(0, len(self.noises) - 1, generator)]
        if as_features and not noise.has_features:
            raise ValueError(
                f"{self.path}: noise {noise.id} has no stored features, but the training cuts "
                "have: compute them with local/compute_fbank.py"
            )
        if not as_features:
            if not noise.has_recording:
                raise ValueError(
                    f"{self.path}: noise {noise.id} has no audio, but the training cuts have no "
                    "stored features to mix its features with"
                )
            noise = noise.drop_features()
        available = math.floor(noise.duration / FRAME_SECONDS + 1e-6)
        wanted = min(math.floor(longest / FRAME_SECONDS + 1e-6), available)
        start = integer(0, available - wanted, generator)
        return noise.truncate(
            offset=round(start * FRAME_SECONDS, 6),
            duration=round(wanted * FRAME_SECONDS, 6),
            preserve_id=True,
        )
