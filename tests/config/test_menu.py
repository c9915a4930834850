"""Which contexts a command line means, and which of them the model knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zipformer.commands.contexts import choose_contexts
from zipformer.config import ContextConfig, RunConfig
from zipformer.config.menu import check_menu, describe_menu, in_menu
from zipformer.context import Context

CONFIG = RunConfig()


def test_without_sizes_the_whole_utterance_is_seen() -> None:
    assert choose_contexts(CONFIG) == [Context.full()]
    assert choose_contexts(CONFIG, chunk=-1) == [Context.full()]


def test_missing_sizes_come_from_the_menu_so_that_a_stream_can_run() -> None:
    assert choose_contexts(CONFIG, right=64) == [Context(32, 512, 64)]
    assert choose_contexts(CONFIG, chunk=64) == [Context(64, 512, 0)]
    assert choose_contexts(CONFIG, chunk=64, left=-1, right=16) == [Context(64, -1, 16)]
    short = replace(CONFIG, context=ContextConfig(chunk=(32, 64), left=(128, 192), right=(0,)))
    assert choose_contexts(short, chunk=128) == [Context(128, 128, 0)]
    assert choose_contexts(short, right=16) == [Context(32, 192, 16)]


def test_several_contexts_keep_their_order_and_lose_doubles() -> None:
    found = choose_contexts(CONFIG, "full 64/256/0 32/256/64 -1/128/0")
    assert found == [Context.full(), Context(64, 256, 0), Context(32, 256, 64)]


@pytest.mark.parametrize(
    "arguments,reason",
    [
        ({"contexts": "full", "right": 64}, "either --contexts or"),
        ({"contexts": ""}, "no context"),
        ({"contexts": "32/256/20"}, "nearest allowed: 16 or 32"),
        ({"contexts": "32"}, "chunk/left/right"),
        ({"chunk": 32, "left": 100}, "left 100 is not a multiple"),
        ({"right": -1}, "right"),
    ],
)
def test_what_cannot_be_computed_is_refused(arguments: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        choose_contexts(CONFIG, **arguments)


@pytest.mark.parametrize(
    "context,policy,wanted",
    [
        ("32/256/64", "uniform", True),
        ("32/128/256", "uniform", True),  # the pair was drawn, though it is longer than any chunk
        ("64/256/256", "uniform", False),  # right 256 was drawn with chunk 32 alone
        ("64/256/64", "uniform", True),
        ("48/240/32", "uniform", True),  # a window of 80, which is less than a chunk of 128
        ("48/240/128", "uniform", False),
        ("48/240/128", "continuous", True),
        ("48/512/0", "uniform", False),
        ("32/inf/0", "uniform", False),
        ("full", "uniform", False),
    ],
)
def test_what_training_drew_or_is_as_long_as_that_is_known(
    context: str, policy: str, wanted: bool
) -> None:
    chunk = (32, 128) if context != "64/256/256" else (32,)
    menu = ContextConfig(chunk=chunk, left=(128, 256), right=(0, 256), policy=policy)
    assert in_menu(Context.parse(context), menu) is wanted


@pytest.mark.parametrize("context", ["full", "32/256/512", "1000/48/0", "32/inf/32"])
def test_after_whole_utterances_every_window_is_known(context: str) -> None:
    assert in_menu(Context.parse(context), ContextConfig())
    assert not in_menu(Context(32, 1024, 0), ContextConfig(left=(128, 512)))


def test_the_menu_is_printed_with_all_its_sizes() -> None:
    text = describe_menu(ContextConfig())
    assert "chunk 32, 64, 128, inf; left 128, 256, 512, inf; right 0, 64, 128, 256" in text


@pytest.mark.parametrize("name", ["chunk", "left", "right"])
def test_empty_menu_is_refused_by_its_key(name: str) -> None:
    with pytest.raises(ValueError, match=rf"context\.{name}"):
        check_menu(replace(CONFIG.context, **{name: ()}), CONFIG.encoder)


@pytest.mark.parametrize(
    "changes,named",
    [
        ({"chunk": (40,)}, r"context\.chunk.*chunk 40"),
        ({"left": (96,)}, r"context\.left.*left 96"),
        ({"right": (5,)}, r"context\.right.*right 5"),
    ],
)
def test_menu_that_the_encoder_cannot_compute_is_refused(
    changes: dict[str, tuple[int, ...]], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        check_menu(replace(CONFIG.context, **changes), CONFIG.encoder)
