"""Contexts drawn in training: what they depend on, how often each comes, that all can be run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zipformer import Context, ZipformerConfig
from zipformer.config import ContextConfig
from zipformer.training.context_sampler import ContextSampler

ENCODER = ZipformerConfig.medium()
PAPER = ContextConfig()
DRAWS = 4000
FIRST_DRAWS = ["64/256/64", "128/512/64", "128/256/256", "64/256/128", "128/inf/0", "32/256/64"]


def contexts(config: ContextConfig, seed: int = 1, draws: int = DRAWS) -> list[Context]:
    sampler = ContextSampler(config, ENCODER, seed)
    return [sampler.sample(step)[0] for step in range(draws)]


def shares(values: list[int]) -> dict[int, float]:
    return {value: count / len(values) for value, count in Counter(values).items()}


@pytest.mark.parametrize("policy", ["uniform", "continuous", "curriculum"])
def test_draw_depends_on_seed_and_step_alone(policy: str) -> None:
    config = replace(PAPER, policy=policy, curriculum_steps=40, right_mode="mixed")
    forward = ContextSampler(config, ENCODER, 7)
    drawn = {step: forward.sample(step) for step in range(60)}
    torch.manual_seed(99)
    backward = ContextSampler(config, ENCODER, 7)
    torch.rand(3)
    assert {step: backward.sample(step) for step in reversed(range(60))} == drawn
    other = ContextSampler(config, ENCODER, 8)
    assert {step: other.sample(step) for step in range(60)} != drawn


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    contexts(replace(PAPER, policy="continuous"), draws=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_first_draws_stay_what_they_are() -> None:
    # A change here changes every run that is resumed across it.
    assert [str(c) for c in contexts(PAPER, seed=42, draws=6)] == FIRST_DRAWS


def test_uniform_draws_every_entry_alike_and_independently() -> None:
    drawn = contexts(PAPER)
    assert shares([c.chunk for c in drawn]) == pytest.approx(
        dict.fromkeys(PAPER.chunk, 0.25), abs=0.03
    )
    finite = [c for c in drawn if not c.is_full]
    assert shares([c.left for c in finite]) == pytest.approx(
        dict.fromkeys(PAPER.left, 0.25), abs=0.03
    )
    assert shares([c.right for c in finite]) == pytest.approx(
        dict.fromkeys(PAPER.right, 0.25), abs=0.03
    )
    assert len(set(drawn)) == 3 * 4 * 4 + 1


def test_continuous_draws_all_multiples_up_to_the_largest() -> None:
    drawn = [c for c in contexts(replace(PAPER, policy="continuous")) if not c.is_full]
    assert {c.chunk for c in drawn} == set(range(16, 128 + 1, 16))
    assert {c.right for c in drawn} == set(range(0, 256 + 1, 16))
    lefts = {c.left for c in drawn if c.chunk == 32}
    assert lefts == {-1, *range(128, 512 + 1, 32)}


def test_continuous_keeps_the_share_of_unlimited_sizes() -> None:
    config = replace(PAPER, policy="continuous", left=(256, 512, 512, 512, -1))
    drawn = contexts(config)
    finite = [c for c in drawn if not c.is_full]
    assert 1 - len(finite) / len(drawn) == pytest.approx(1 / 4, abs=0.03)
    assert sum(c.left == -1 for c in finite) / len(finite) == pytest.approx(1 / 5, abs=0.03)


def test_curriculum_begins_with_the_whole_utterance_and_ends_with_the_menu() -> None:
    config = replace(PAPER, policy="curriculum", curriculum_steps=400)
    sampler = ContextSampler(config, ENCODER, 1)
    drawn = [sampler.sample(step)[0] for step in range(2400)]
    assert set(drawn[:100]) == {Context.full()}
    seen = {
        chunk: next(i for i, c in enumerate(drawn) if c.chunk == chunk) for chunk in PAPER.chunk
    }
    assert seen[-1] < seen[128] < seen[64] < seen[32] <= 400
    assert {c.left for c in drawn[100:200] if not c.is_full} == {-1, 512}
    assert {c.right for c in drawn[100:200] if not c.is_full} == {256, 128}
    assert len(set(drawn[400:])) == 3 * 4 * 4 + 1


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_mixed_views_come_in_their_share(share: float) -> None:
    config = replace(PAPER, right_mode="mixed", windowed_share=share)
    sampler = ContextSampler(config, ENCODER, 1)
    modes = [sampler.sample(step)[1] for step in range(DRAWS)]
    assert set(modes) <= {"masked", "windowed"}
    assert modes.count("windowed") / DRAWS == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("mode", ["masked", "windowed"])
def test_one_view_is_always_that_view(mode: str) -> None:
    sampler = ContextSampler(replace(PAPER, right_mode=mode), ENCODER, 1)
    assert {sampler.sample(step)[1] for step in range(50)} == {mode}


def test_view_does_not_change_the_contexts() -> None:
    mixed = replace(PAPER, right_mode="mixed")
    assert contexts(mixed, draws=50) == contexts(PAPER, draws=50)


@st.composite
def menus_and_encoders(draw: st.DrawFn) -> tuple[ContextConfig, ZipformerConfig]:
    """Menus that fit an encoder of any downsampling and kernels."""
    downsampling = draw(st.sampled_from([(1, 2), (1, 4), (2, 8)]))
    kernels = draw(st.sampled_from([(31, 15), (3, 31), (15, 1)]))
    encoder = ZipformerConfig(
        **dict.fromkeys(("num_layers", "query_head_dim", "pos_head_dim", "num_heads"), 1),
        **dict.fromkeys(("value_head_dim", "feedforward_dims"), 4),
        **dict.fromkeys(("dims", "unmasked_dims"), 8),
        downsampling=downsampling,
        kernels=kernels,
    )
    unit = encoder.context_unit
    chunks = draw(st.lists(st.sampled_from([unit, 2 * unit, 4 * unit, -1]), min_size=1, max_size=4))
    fitting = -(-encoder.min_left // (4 * unit)) * 4 * unit or 4 * unit
    lefts = draw(st.lists(st.sampled_from([fitting, 2 * fitting, -1]), min_size=1, max_size=3))
    rights = draw(st.lists(st.integers(0, 9).map(lambda i: i * unit), min_size=1, max_size=4))
    config = ContextConfig(
        chunk=tuple(chunks),
        left=tuple(lefts),
        right=tuple(rights),
        policy=draw(st.sampled_from(["uniform", "continuous", "curriculum"])),
        curriculum_steps=draw(st.integers(1, 30)),
    )
    return config, encoder


@settings(max_examples=150)
@given(menus_and_encoders(), st.integers(0, 2**31), st.integers(0, 10**6))
def test_every_drawn_context_can_be_computed_and_lies_within_the_menu(
    case: tuple[ContextConfig, ZipformerConfig], seed: int, start: int
) -> None:
    config, encoder = case
    sampler = ContextSampler(config, encoder, seed)
    for step in range(start, start + 20):
        context, _ = sampler.sample(step)
        encoder.check_context(context)
        if context.is_full:
            assert -1 in config.chunk
            continue
        assert context.chunk <= max(config.chunk)
        assert context.right <= max(config.right)
        assert context.left <= max(config.left) if context.left >= 0 else -1 in config.left


def test_left_context_never_exceeds_the_largest_entry() -> None:
    config = replace(PAPER, policy="continuous", chunk=(128,), left=(128,))
    assert {c.left for c in contexts(config, draws=300)} <= {112, 128}


@pytest.mark.parametrize("policy", ["uniform", "continuous", "curriculum"])
def test_window_ratio_is_kept_without_losing_right_context(policy: str) -> None:
    free = replace(PAPER, policy=policy, curriculum_steps=10, right_mode="windowed")
    limited = contexts(replace(free, max_window_ratio=3.0), draws=1000)
    for context in limited:
        ENCODER.check_context(context)
        assert context.is_full or context.window <= 3.0 * context.chunk
    before = Counter(c.right for c in contexts(free, draws=1000) if not c.is_full)
    after = Counter(c.right for c in limited if not c.is_full)
    assert after.keys() == before.keys()
    cost = [c.window / c.chunk for c in contexts(free, draws=1000) if not c.is_full]
    assert max(cost) > 3.0


def test_window_ratio_leaves_masked_steps_alone() -> None:
    masked = replace(PAPER, right_mode="masked")
    assert contexts(masked) == contexts(replace(masked, max_window_ratio=1.0))


def test_without_an_affordable_chunk_the_step_is_full() -> None:
    config = replace(PAPER, chunk=(32,), right=(256,), right_mode="windowed", max_window_ratio=2.0)
    assert contexts(config, draws=5) == [Context.full()] * 5
