"""Where the speech in a recording ends, by its energy alone."""

from __future__ import annotations

import numpy as np
from lhotse.cut import Cut

from zipformer.context import FRAME_SECONDS

DROP_DB = 35.0  # what is so much softer than the loudest speech is none
NOISE_DB = 6.0  # speech stands out from the noise by so much
LEAST_DB = 15.0  # but what is nearly as loud as the loudest is speech, whatever the noise
SMOOTHED_FRAMES = 5  # clicks and gaps of less than half of them do not count
SILENCE = 1e-12  # power below which a frame is digital silence


def end_of_speech(samples: np.ndarray, sample_rate: int = 16000) -> float:
    """When the last speech ends.

    A frame of 10 ms is loud if its energy is less than 35 dB below the loudest 2 % of the frames
    and at least 6 dB above the noise, which is what a tenth of the frames does not exceed. Most of
    five neighbouring frames must be loud: a click after the end is no speech, a short gap in a word
    ends none. Voices or music in the background count as speech.

    Args:
        samples: (N,) of any scale.
        sample_rate: In Hz.

    Returns:
        Seconds from the beginning; 0 if everything is digital silence.

    Example:
        >>> tone = np.sin(np.arange(8000))
        >>> end_of_speech(np.concatenate([tone, np.zeros(16000)]))
        0.5
    """
    size = round(FRAME_SECONDS * sample_rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    if not len(power) or power.max() <= SILENCE:
        return 0.0
    level = 10 * np.log10(power + SILENCE)
    loudest, noise = np.percentile(level, 98), np.percentile(level, 10)
    threshold = min(max(loudest - DROP_DB, noise + NOISE_DB), loudest - LEAST_DB)
    votes = np.convolve(level > threshold, np.ones(SMOOTHED_FRAMES), mode="same")
    loud = np.flatnonzero(votes > SMOOTHED_FRAMES / 2)
    return round(float(loud[-1] + 1) * FRAME_SECONDS, 3) if len(loud) else 0.0


def end_of_words(cut: Cut) -> float:
    """When the last aligned word of a cut ends, in seconds from its beginning.

    Raises:
        ValueError: If the manifest has no word alignment for it.
    """
    words = [w for s in cut.supervisions for w in (s.alignment or {}).get("word", ())]
    if not words:
        raise ValueError(f"cut {cut.id} has no alignment of its words: take --speech-end energy")
    return max(word.end for word in words)
