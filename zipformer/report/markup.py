"""HTML that what it shows cannot break: every text is escaped unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Markup(str):
    """Text that is HTML; only this module and those that draw may make it of plain text."""


Child = str | Iterable["Child"] | None


def element(tag: str, *children: Child, **attributes: str | int | float | None) -> Markup:
    """An element with escaped content.

    Args:
        tag: Its name.
        children: Texts, markup, or lists of both; None adds nothing.
        attributes: By name, a trailing underscore is dropped and others become hyphens; None adds
            nothing.

    Example:
        >>> element("td", "a < b", class_="wide")
        '<td class="wide">a &lt; b</td>'
    """
    found = (
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{''.join(found)}>{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Markup:
    """Several pieces one after another."""
    return Markup("".join(_piece(child) for child in children))


def _piece(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return escape(child) if isinstance(child, str) else join(child)
