"""The menu of contexts that a model is trained with: whether it can be, and what is in it."""

from __future__ import annotations

from itertools import product

from zipformer.config.sections import ContextConfig
from zipformer.context import UNLIMITED, Context
from zipformer.nn.encoder_config import EncoderConfig


def check_menu(menu: ContextConfig, encoder: EncoderConfig) -> None:
    """Refuses a menu that is empty, or holds a context that the encoder cannot compute.

    Raises:
        ValueError: Naming the key and the nearest allowed values.
    """
    for name in ("chunk", "left", "right"):
        if not getattr(menu, name):
            raise ValueError(f"context.{name} is empty: give at least one size")
    for chunk, left, right in product(menu.chunk, menu.left, menu.right):
        try:
            encoder.check_context(Context(chunk, left, right))
        except ValueError as error:
            raise ValueError(
                "context.chunk, context.left and context.right must fit in every combination: "
                f"{error}"
            ) from None


def in_menu(context: Context, menu: ContextConfig) -> bool:
    """Whether a model knows this context from its training.

    Every one that training drew, or could have, it does. Besides, a window of chunk and right
    context is one chunk to the encoder, so that it knows those that are no longer than a chunk that
    it was trained with; after whole utterances any. The left context must be one that was drawn, or
    lie below one.
    """
    if UNLIMITED not in menu.left and not 0 <= context.left <= max(menu.left):
        return context.is_full and UNLIMITED in menu.chunk
    if UNLIMITED in menu.chunk:
        return True
    window = context.chunk + context.right
    return not context.is_full and (window <= max(menu.chunk) or _drawn(context, menu))


def _drawn(context: Context, menu: ContextConfig) -> bool:
    """Whether chunk and right context are a pair that training drew, or could have."""
    sizes = ((context.chunk, menu.chunk), (context.right, menu.right))
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
