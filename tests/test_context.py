"""Contexts: how they are written, and which ones an encoder accepts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zipformer import Context, ZipformerConfig
from zipformer.context import (
    FRAME_SECONDS,
    OUTPUT_FRAME_SECONDS,
    output_frames,
    output_lengths,
    parse_contexts,
)

STANDARD = ZipformerConfig.medium()

contexts = st.builds(
    Context,
    st.integers(1, 500) | st.just(-1),
    st.integers(0, 900) | st.just(-1),
    st.integers(0, 500),
)


@settings(max_examples=100)
@given(contexts)
def test_what_is_written_reads_back(context: Context) -> None:
    assert Context.parse(str(context)) == context


@settings(max_examples=100)
@given(st.integers(-1, 900), st.integers(0, 500))
def test_unlimited_chunk_is_full_whatever_left_and_right(left: int, right: int) -> None:
    context = Context(-1, left, right)
    assert context == Context.full()
    assert hash(context) == hash(Context.full())
    assert context.is_full and not context.streams
    assert context.latency_ms is None


@pytest.mark.parametrize(
    "text,context",
    [
        ("full", Context.full()),
        ("32/256", Context(32, 256, 0)),
        ("32/256/64", Context(32, 256, 64)),
        ("32/inf/64", Context(32, -1, 64)),
        ("32/-1/64", Context(32, -1, 64)),
        ("inf/256/64", Context.full()),
        (" 32/256/64 ", Context(32, 256, 64)),
    ],
)
def test_ways_of_writing_a_context(text: str, context: Context) -> None:
    assert Context.parse(text) == context


@pytest.mark.parametrize("text", ["", "32", "32/256/64/0", "32/x/0", "ful", "32-256-64", "32/256/"])
def test_text_that_is_no_context_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="32/256/64"):
        Context.parse(text)


@pytest.mark.parametrize(
    "sizes,named",
    [
        ((0, 128, 0), "chunk"),
        ((-2, 128, 0), "chunk"),
        ((32, -2, 0), "left"),
        ((32, 128, -1), "right"),
    ],
)
def test_impossible_sizes_are_refused_by_name(sizes: tuple[int, int, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Context(*sizes)


def test_sizes_that_are_no_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="left"):
        Context(32, 128.0, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "context,slug",
    [
        (Context.full(), "full"),
        (Context(32, 256, 64), "32-256-64"),
        (Context(32, -1, 0), "32-inf-0"),
        (Context(-1, 128, 64), "full"),
    ],
)
def test_folder_names(context: Context, slug: str) -> None:
    assert context.slug == slug


def test_latency_counts_chunk_right_context_and_frontend() -> None:
    assert Context(32, 256, 0).latency_ms == 450
    assert Context(32, 256, 64).latency_ms == 1090
    assert Context(32, -1, 64).latency_ms == 1090


def test_description_shows_milliseconds() -> None:
    text = Context(32, -1, 64).describe()
    assert "320 ms" in text and "640 ms" in text and "unlimited" in text


def test_several_contexts_keep_their_order() -> None:
    expected = [Context.full(), Context(64, 128, 0), Context(32, 256, 64)]
    assert parse_contexts("full 64/128/0  32/256/64") == expected
    assert parse_contexts(("full", "64/128", "32/256/64")) == expected


def test_standard_encoder_counts_in_16_frames_and_needs_112_of_history() -> None:
    for config in (ZipformerConfig.small(), STANDARD, ZipformerConfig.large()):
        assert (config.context_unit, config.min_left) == (16, 112)
        config.check_context(Context(16, 112, 0))
        with pytest.raises(ValueError, match="shorter than the 112 frames.*nearest allowed: 112"):
            config.check_context(Context(16, 96, 0))


def test_limits_follow_downsampling_and_kernels() -> None:
    two = {"dims": (32, 48), "unmasked_dims": (32, 32), "num_layers": (1, 1)}
    sizes = {"query_head_dim": 8, "pos_head_dim": 4, "value_head_dim": 6, "num_heads": 2}
    config = ZipformerConfig(
        downsampling=(1, 2), kernels=(31, 7), feedforward_dims=(48, 64), **two, **sizes
    )
    assert config.context_unit == 4
    assert config.min_left == 30  # 2 * 1 * 15 reaches further than 2 * 2 * 3
    config.check_context(Context(4, 32, 4))


@pytest.mark.parametrize(
    "context,message",
    [
        (Context(40, 256, 0), "chunk 40 .*nearest allowed: 32 or 48"),
        (Context(8, 256, 0), "chunk 8 .*nearest allowed: 16"),
        (Context(32, 256, 70), "right 70 .*nearest allowed: 64 or 80"),
        (Context(32, 256, 8), "right 8 .*nearest allowed: 0 or 16"),
        (Context(48, 256, 0), "left 256 is not a multiple of the chunk 48; .*: 240 or 288"),
        (Context(64, 64, 0), "left 64 is shorter than the 112 .*nearest allowed: 128"),
        (Context(32, 0, 0), "left 0 is shorter than the 112 .*nearest allowed: 128"),
    ],
    ids=str,
)
def test_context_that_is_not_allowed_names_the_nearest(context: Context, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STANDARD.check_context(context)


def test_nearest_left_context_is_itself_allowed() -> None:
    with pytest.raises(ValueError, match="nearest allowed: 128$"):
        STANDARD.check_context(Context(32, 100, 0))


@pytest.mark.parametrize("context", [Context.full(), Context(32, -1, 0), Context(128, 512, 256)])
def test_unlimited_sizes_and_multiples_are_allowed(context: Context) -> None:
    STANDARD.check_context(context)


def test_encoder_that_is_not_causal_knows_only_the_full_context() -> None:
    config = ZipformerConfig.small(causal=False)
    config.check_context(Context.full())
    with pytest.raises(ValueError, match="causal"):
        config.check_context(Context(32, 128, 0))


@pytest.mark.parametrize(
    ("frames", "outputs"), [(0, 0), (6, 0), (8, 0), (9, 1), (12, 1), (13, 2), (99, 23)]
)
def test_outputs_of_so_many_frames(frames: int, outputs: int) -> None:
    assert output_frames(frames) == outputs


def test_many_lengths_are_counted_like_one() -> None:
    lengths = torch.arange(200).view(4, 50)
    counts = [[output_frames(n) for n in row] for row in lengths.tolist()]
    assert output_lengths(lengths).tolist() == counts


def test_seconds_are_the_decimal_numbers_to_the_last_bit() -> None:
    assert (FRAME_SECONDS, OUTPUT_FRAME_SECONDS) == (0.01, 0.04)
