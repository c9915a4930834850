from dataclasses import replace

import pytest
import torch

from zipformer.config import SpecAugmentConfig
from zipformer.data.augment import SpecAugment, warp_time
from zipformer.data.seeds import generator_for, uniform

ALWAYS = SpecAugmentConfig(prob=1.0)
MASKS_ONLY = replace(ALWAYS, time_warp=0)


def masked_frames(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """(T,) bool: where every bin was replaced."""
    return (before != after).all(dim=1)


def test_the_same_generator_gives_the_same_result() -> None:
    features = torch.randn(300, 80)
    first, second = (SpecAugment(ALWAYS)(features, generator_for(1, 2, 3)) for _ in range(2))
    other = SpecAugment(ALWAYS)(features, generator_for(1, 2, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_global_random_state_is_neither_used_nor_moved() -> None:
    features = torch.randn(300, 80)
    state = torch.get_rng_state()
    first = SpecAugment(ALWAYS)(features, generator_for(7))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(SpecAugment(ALWAYS)(features, generator_for(7)), first)


def test_the_input_is_left_alone() -> None:
    features = torch.randn(300, 80)
    copy = features.clone()
    SpecAugment(ALWAYS)(features, generator_for(0))
    assert torch.equal(features, copy)


def test_masks_hold_the_mean_of_the_utterance() -> None:
    features = torch.randn(200, 80)
    for seed in range(20):
        after = SpecAugment(MASKS_ONLY)(features, generator_for(seed))
        changed = after[after != features]
        torch.testing.assert_close(changed, features.mean().expand_as(changed))


@pytest.mark.parametrize("num_frames", [5, 40, 150, 1500])
def test_time_masks_never_cover_more_than_their_share(num_frames: int) -> None:
    config = replace(MASKS_ONLY, freq_masks=0)
    features = torch.randn(num_frames, 80)
    most = 0
    for seed in range(60):
        after = SpecAugment(config)(features, generator_for(seed))
        most = max(most, int(masked_frames(features, after).sum()))
    assert most <= config.max_time_share * num_frames
    assert most > 0 or num_frames == 5


def test_frequency_masks_are_whole_bands_of_limited_width() -> None:
    config = replace(MASKS_ONLY, time_masks=0, freq_masks=1)
    features = torch.randn(50, 80)
    widths = set()
    for seed in range(300):
        after = SpecAugment(config)(features, generator_for(seed))
        bands = (after != features).all(dim=0)
        assert torch.equal(bands, (after != features).any(dim=0))
        places = bands.nonzero()[:, 0]
        widths.add(len(places))
        assert len(places) == 0 or places[-1] - places[0] + 1 == len(places)
    assert max(widths) == config.max_freq_width
    assert min(widths) == 0


def test_the_probability_is_that_of_any_change() -> None:
    features = torch.randn(200, 80)
    augment = SpecAugment(replace(ALWAYS, prob=0.3))
    same = sum(augment(features, generator_for(s)) is features for s in range(400))
    assert 0.62 < same / 400 < 0.78


def test_warping_keeps_the_length_the_ends_and_the_order() -> None:
    ramp = torch.arange(400.0)[:, None].expand(400, 80).contiguous()
    moved = 0.0
    for seed in range(20):
        warped = warp_time(ramp, 80, generator_for(seed))
        assert warped.shape == ramp.shape
        assert (warped.diff(dim=0) > -0.5).all()
        assert abs(warped[0, 0]) < 2 and abs(warped[-1, 0] - 399) < 2
        moved = max(moved, float((warped - ramp).abs().max()))
    assert 40 < moved <= 81


@pytest.mark.parametrize("num_frames", [1, 100, 162])
def test_utterances_too_short_to_warp_stay_as_they_are(num_frames: int) -> None:
    features = torch.randn(num_frames, 80)
    assert torch.equal(warp_time(features, 80, generator_for(0)), features)


def test_views_are_warped_alike_and_masked_apart() -> None:
    ramp = torch.arange(300.0)[:, None].expand(300, 80) + torch.arange(80.0)
    one, other = SpecAugment(replace(ALWAYS, views=2)).views(ramp, generator_for(5))
    alone = warp_time(ramp, ALWAYS.time_warp, _after_one_draw(5))
    assert not torch.equal(alone, ramp)
    masked = one != alone, other != alone
    assert 0.0 < masked[0].float().mean() < 0.9
    assert not torch.equal(*masked)
    (only,) = SpecAugment(ALWAYS).views(ramp, generator_for(5))
    assert torch.equal(only, SpecAugment(ALWAYS)(ramp, generator_for(5)))


def _after_one_draw(seed: int) -> torch.Generator:
    generator = generator_for(seed)
    uniform(0.0, 1.0, generator)
    return generator
