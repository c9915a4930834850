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
