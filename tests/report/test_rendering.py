"""Whatever is shown stays text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from evaluation.example_results import example
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from zipformer.report.compare import Entry
from zipformer.report.comparison_page import to_html
from zipformer.report.rendering import render

anything = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


class Texts(HTMLParser):
    """Texts of one kind of element as a browser would see them, and all tags."""

    def __init__(self, page: str, tag: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wanted = tag
        self.tags: list[str] = []
        self.open: list[str] = []
        self.found = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.wanted in self.open:
            self.found += data


PLAIN = Texts(to_html([Entry("run", example("full"), Path("wer.json"))], "title"), "")


@given(anything, anything)
def test_any_text_comes_back_as_it_was(title: str, run: str) -> None:
    page = to_html([Entry(run, example("full"), Path("wer.json"))], title)
    assert Texts(page, "h1").found == title
    assert f"{run}, epoch30-avg9" in Texts(page, "figure").found  # in the legend of the plot
    assert Texts(page, "td").found.startswith(run)
    assert Texts(page, "").tags == PLAIN.tags


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("page.html")
