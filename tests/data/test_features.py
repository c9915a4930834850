import sys

import numpy as np
import pytest
import torch
from tolerances import ROUNDING

from zipformer.data.features import extract


def mel(frequency: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log(1.0 + np.asarray(frequency) / 700.0)


def kaldi_frame(samples: np.ndarray, start: int) -> np.ndarray:
    """One frame of Kaldi's filter bank, by the book, in float64."""
    frame = samples[start : start + 400].astype(np.float64)
    frame = frame - frame.mean()
    frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(frame * window, 512)) ** 2
    edges = np.linspace(mel(20.0), mel(7600.0), 82)
    bins = mel(np.arange(257) * 16000 / 512)
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.clip(np.minimum(rising, falling), 0.0, None)
    weights[:, 256] = 0.0  # Kaldi leaves the Nyquist bin out
    return np.log(np.maximum(weights @ power, np.finfo(np.float32).eps))


def test_features_are_kaldis() -> None:
    samples = 0.3 * torch.randn(16000)
    features = extract(samples, 16000).numpy()
    for frame in (3, 40, 90):
        start = frame * 160 + 80 - 200  # frames are centred: 10 ms apart, the first at 5 ms
        np.testing.assert_allclose(features[frame], kaldi_frame(samples.numpy(), start), atol=2e-3)


@pytest.mark.parametrize("num_samples", [200, 401, 1679, 1680, 16000, 16079, 16080])
def test_there_is_one_frame_for_every_10_ms_rounded(num_samples: int) -> None:
    assert extract(torch.randn(num_samples)).shape == ((num_samples + 80) // 160, 80)


@pytest.mark.parametrize("num_samples", [0, 1, 79, 159, 199])
def test_audio_too_short_for_the_extractor_still_gives_a_frame(num_samples: int) -> None:
    features = extract(torch.randn(num_samples))
    assert features.shape == (1, 80)
    assert torch.isfinite(features).all()


def test_silence_lies_on_the_floor() -> None:
    floor = float(np.log(np.finfo(np.float32).eps))
    torch.testing.assert_close(extract(torch.zeros(1600)), torch.full((10, 80), floor))


def test_frames_do_not_depend_on_audio_further_away_than_their_window() -> None:
    samples = 0.1 * torch.randn(16000)
    whole, part = extract(samples), extract(samples[:8000])
    torch.testing.assert_close(whole[:48], part[:48], atol=ROUNDING, rtol=0)


def test_arrays_and_tensors_with_or_without_a_channel_axis_give_the_same() -> None:
    samples = torch.randn(4000)
    expected = extract(samples)
    for same in (samples[None], samples.numpy(), samples[None].numpy()):
        assert torch.equal(extract(same), expected)


def test_two_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="one channel"):
        extract(torch.randn(2, 4000))


def test_nothing_needs_torchaudio() -> None:
    extract(torch.randn(1600))
    assert "torchaudio" not in sys.modules
