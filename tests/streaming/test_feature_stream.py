"""Features of arriving audio are those of the whole utterance, however the samples come."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tolerances import ROUNDING

from zipformer.data.features import extract
from zipformer.streaming import FeatureStream


def sound(num_samples: int) -> np.ndarray:
    return np.random.default_rng(num_samples).normal(0, 0.2, num_samples).astype(np.float32)


def streamed(samples: np.ndarray, sizes: list[int], take_every: int = 1) -> torch.Tensor:
    stream, found, start, count = FeatureStream(), [], 0, 0
    while start < len(samples):
        size = sizes[count % len(sizes)]
        stream.accept(samples[start : start + size])
        start, count = start + size, count + 1
        if count % take_every == 0:
            ready = stream.ready
            found.append(stream.take())
            assert len(found[-1]) == ready and stream.ready == 0
    stream.finish()
    return torch.cat([*found, stream.take()])


@settings(max_examples=60)
@given(
    st.integers(0, 8000),
    st.lists(st.integers(1, 2000), min_size=1, max_size=6),
    st.integers(1, 4),
)
@example(0, [1], 1)
@example(1, [1], 1)
@example(199, [1], 1)
@example(200, [7], 1)
@example(280, [280], 1)
@example(281, [281], 1)
@example(719, [160], 1)
@example(720, [1], 1)
def test_any_cutting_gives_the_features_of_the_whole(
    num_samples: int, sizes: list[int], take_every: int
) -> None:
    samples = sound(num_samples)
    whole = extract(samples[None])
    found = streamed(samples, sizes, take_every)
    assert found.shape == whole.shape
    assert (found - whole).abs().max() <= ROUNDING


def test_ten_seconds_at_once_are_ten_seconds_in_samples() -> None:
    samples = sound(160_000)
    assert (streamed(samples, [160_000]) - extract(samples)).abs().max() <= ROUNDING
    short = sound(3000)
    assert (streamed(short, [1]) - extract(short)).abs().max() <= ROUNDING


def test_a_frame_is_ready_as_soon_as_its_last_sample_is_there() -> None:
    stream = FeatureStream()
    for sample, ready in ((279, 0), (1, 1), (159, 1), (1, 2)):
        stream.accept(np.zeros(sample, np.float32))
        assert stream.ready == ready
    stream.finish()
    assert stream.ready == round(440 / 160)


def test_only_what_later_frames_need_is_kept() -> None:
    stream = FeatureStream()
    for _ in range(100):
        stream.accept(sound(1600))
        stream.take()
        assert sum(len(piece) for piece in stream._pieces) < 400
        assert all(piece.base is None for piece in stream._pieces)  # no view of more
    assert stream.num_samples == 160_000


@pytest.mark.parametrize("rate", [8000, 16000])
def test_other_sample_rates(rate: int) -> None:
    samples, stream = sound(rate), FeatureStream(rate, 40)
    for piece in np.array_split(samples, 7):
        stream.accept(piece)
    stream.finish()
    assert (stream.take() - extract(samples, rate, 40)).abs().max() <= ROUNDING
