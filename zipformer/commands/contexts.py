"""Contexts to decode with: what was asked for, completed from what the model was trained with."""

from __future__ import annotations

from collections.abc import Sequence

from zipformer.config import RunConfig
from zipformer.context import UNLIMITED, Context, parse_contexts


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


def _complete(config: RunConfig, chunk: int | None, left: int | None, right: int | None) -> Context:
    menu, encoder = config.context, config.encoder
    if chunk is None:
        chunk = min((c for c in menu.chunk if c != UNLIMITED), default=encoder.context_unit)
    if left is None and chunk != UNLIMITED:
        lowest = -(-encoder.min_left // chunk) * chunk
        fitting = [s for s in menu.left if s >= lowest and s % chunk == 0]
        left = max(fitting, default=lowest)
    return Context(chunk, UNLIMITED if left is None else left, right or 0)
