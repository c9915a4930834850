"""Whatever is shown stays text."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from zipformer.report.markup import Markup, element, join


class Texts(HTMLParser):
    """Tags, attributes and texts as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


anything = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(anything, anything)
def test_any_text_comes_back_as_it_was(text: str, attribute: str) -> None:
    seen = Texts(element("p", text, title=attribute))
    assert (seen.tags, seen.text, seen.attributes) == (["p"], text, {"title": attribute})


def test_markup_is_kept_lists_are_joined_and_none_is_nothing() -> None:
    inner = element("b", "<")
    assert inner == "<b>&lt;</b>" and isinstance(inner, Markup)
    assert element("p", [inner, ["&", None]], class_="x", text_anchor=None) == (
        '<p class="x"><b>&lt;</b>&amp;</p>'
    )
    assert element("path", stroke_width=2) == '<path stroke-width="2"></path>'
    assert join(["<", inner]) == "&lt;<b>&lt;</b>"
