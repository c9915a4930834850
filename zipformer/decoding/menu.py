"""Contexts to decode with: what was asked for, completed from what the model was trained with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from zipformer.config import ContextConfig, RunConfig
from zipformer.context import UNLIMITED, Context, parse_contexts
from zipformer.decoding.results import LIVE, Mode
from zipformer.training.loaded_model import LoadedModel

logger = logging.getLogger(__name__)


def choose_contexts(
    config: RunConfig,
    contexts: str | Sequence[str] | None = None,
    chunk: int | None = None,
    left: int | None = None,
    right: int | None = None,
) -> list[Context]:
    """The contexts that someone asks for on the command line.

    With none of the sizes the whole utterance is seen. With any of them the others come from the
    menu the model was trained with: its smallest chunk, its largest finite left context that fits
    the chunk (a stream has to hold it), no right context.

    Args:
        config: Of the trained model.
        contexts: Several contexts, as in ``"full 32/256/0 32/256/64"``; instead of the sizes.
        chunk: Frames of 10 ms, -1 for the whole utterance.
        left: Frames, -1 for unlimited.
        right: Frames.

    Raises:
        ValueError: If both are given, or a context is one that the model cannot compute.
    """
    sizes = (chunk, left, right)
    if contexts is not None and any(size is not None for size in sizes):
        raise ValueError("give either --contexts or --chunk, --left and --right")
    if contexts is not None:
        chosen = parse_contexts(contexts)
    elif all(size is None for size in sizes):
        chosen = [Context.full()]
    else:
        chosen = [_complete(config, chunk, left, right)]
    if not chosen:
        raise ValueError("no context given; write, for example, --contexts 'full 32/256/64'")
    for context in chosen:
        config.encoder.check_context(context)
    return list(dict.fromkeys(chosen))


def in_menu(context: Context, menu: ContextConfig) -> bool:
    """Whether training drew this context, or could have."""
    if context.is_full:
        return UNLIMITED in menu.chunk
    sizes = ((context.chunk, menu.chunk), (context.left, menu.left), (context.right, menu.right))
    if menu.policy != "continuous":
        return all(size in offered for size, offered in sizes)
    return all(
        size in offered if size == UNLIMITED else size <= max(offered) for size, offered in sizes
    )


def describe_menu(menu: ContextConfig) -> str:
    """The menu for a person."""
    parts = [
        f"{name} {', '.join('inf' if s == UNLIMITED else str(s) for s in sizes)}"
        for name, sizes in (("chunk", menu.chunk), ("left", menu.left), ("right", menu.right))
    ]
    between = " and sizes between" if menu.policy == "continuous" else ""
    return f"{'; '.join(parts)}{between} (frames of 10 ms)"


def check_context(loaded: LoadedModel, context: Context, right_mode: Mode = "windowed") -> None:
    """Refuses what the model cannot compute; warns, once, of what it was not trained for.

    Raises:
        ValueError: On a context that the encoder cannot compute, or cannot stream.
    """
    loaded.config.encoder.check_context(context)
    if right_mode in LIVE and not context.streams:
        raise ValueError(
            f"context {context} cannot stream: a stream needs a finite chunk and a finite left "
            "context, as in 32/256/64"
        )
    trained = context.is_full and loaded.config.method.trains_full
    if not trained and not in_menu(context, loaded.config.context):
        _warn_once(loaded.path.parent, context, loaded.config.context)


@cache
def _warn_once(run: Path, context: Context, menu: ContextConfig) -> None:
    logger.warning(
        "context %s is outside the menu that %s was trained with (%s): expect more errors",
        context,
        run.name,
        describe_menu(menu),
    )


def _complete(config: RunConfig, chunk: int | None, left: int | None, right: int | None) -> Context:
    menu, encoder = config.context, config.encoder
    if chunk is None:
        chunk = min((c for c in menu.chunk if c != UNLIMITED), default=encoder.context_unit)
    if left is None and chunk != UNLIMITED:
        lowest = -(-encoder.min_left // chunk) * chunk
        fitting = [s for s in menu.left if s >= lowest and s % chunk == 0]
        left = max(fitting, default=lowest)
    return Context(chunk, UNLIMITED if left is None else left, right or 0)
