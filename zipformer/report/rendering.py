"""Templates of pages and charts; every text that goes into one is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"

_environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: object) -> str:
    """The text of a template.

    Args:
        template: Name of a file in ``templates``.
        values: What it shows, by name; texts are escaped there.
    """
    return _environment.get_template(template).render(values)
