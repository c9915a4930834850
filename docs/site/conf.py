"""The documentation as a site: the pages of the repository, and the API from its docstrings.

    pip install -e '.[docs]'
    sphinx-build -W -c docs/site . site

The source folder is the repository, so that links between pages hold there and on the site alike.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

project = "zipformer"
copyright = "the authors of zipformer"
release = importlib.metadata.version("unified-zipformer")
root_doc = "docs/site/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "docs/site/*.md",
    "recipes/*/*.md",
    "recipes/digits/fsdd/*.md",
]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
html_theme = "furo"
html_title = "zipformer"


def literal_blocks(
    app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Indented lines in the docstrings of modules are code, and drawings: not quotations."""
    if what != "module":
        return
    for i in reversed(range(2, len(lines))):
        begins = (
            lines[i].startswith("    ") and not lines[i - 1] and not lines[i - 2].startswith("    ")
        )
        if begins and not lines[i - 2].endswith("::"):
            lines[i:i] = ["::", ""]


def setup(app: Any) -> None:
    """What Sphinx calls with its application."""
    app.connect("autodoc-process-docstring", literal_blocks)
