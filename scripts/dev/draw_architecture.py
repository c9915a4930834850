"""Draws docs/architecture.svg: the rooms of the package, floor by floor.

python scripts/dev/draw_architecture.py

What stands on which floor follows from the imports of the code, as tests/test_layering.py reads
them; what a room is for is the first line of its docstring. The test of the page makes the picture
anew and compares it with the file.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from test_layering import (  # type: ignore[import-not-found]  # noqa: E402
    FILES,
    FLOORS,
    floor_of,
    module_name,
    modules_of_the_package,
)

PICTURE = ROOT / "docs" / "architecture.svg"
WIDTH, MARGIN, GAP = 920, 16, 12
LINE, HEAD = 15, 26  # heights of a line of text and of a room's name
CHARACTER = 6.6  # average width at the size of the text
NOT_DRAWN = ("zipformer", "zipformer.__main__")  # the face and the door: no rooms
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333333; }
.name { font-size: 14px; font-weight: 600; fill: #111111; }
.room { fill: #f6f6f4; stroke: #b8b8b4; }
.paper { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #c8cacd; } .name { fill: #f0f0ee; }
  .room { fill: #1f2228; stroke: #4a4f57; } .paper { fill: #16181c; }
}
"""


def main() -> None:
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {len(rows())} floors")


def rows() -> list[list[str]]:
    """The rooms of each floor, from the top down; a room needs nothing of its neighbours."""
    below: dict[str, set[str]] = {floor: set() for floor in FLOORS}
    for path in FILES:
        own = floor_of(module_name(path))
        below[own] |= {floor_of(module) for module in modules_of_the_package(path)} - {own}

    @cache
    def height(floor: str) -> int:
        return 1 + max((height(other) for other in below[floor]), default=0)

    drawn = [floor for floor in FLOORS if floor not in NOT_DRAWN]
    heights = sorted({height(floor) for floor in drawn}, reverse=True)
    return [[floor for floor in drawn if height(floor) == h] for h in heights]


def purpose(room: str) -> str:
    """The first line of a room's docstring."""
    path = ROOT / room.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.splitlines()[0].replace("``", "").rstrip(".")


def picture() -> str:
    """The SVG."""
    parts: list[str] = []
    top = MARGIN
    for row in rows():
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        texts = [textwrap.wrap(purpose(room), int((width - 20) / CHARACTER)) for room in row]
        height = HEAD + LINE * max(map(len, texts)) + 8
        for i, (room, lines) in enumerate(zip(row, texts, strict=True)):
            parts += _room(room, lines, MARGIN + i * (width + GAP), top, width, height)
        top += height + GAP
    height = top - GAP + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        "<title>The rooms of the package: each imports only what stands below it</title>\n"
        f'<style>{STYLE}</style>\n<rect class="paper" width="{WIDTH}" height="{height}"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def _room(
    room: str, lines: list[str], left: float, top: float, width: float, height: float
) -> list[str]:
    path = room.removeprefix("zipformer.").replace(".", "/")
    name = f"{path}/" if (ROOT / "zipformer" / path).is_dir() else f"{path}.py"
    parts = [
        f'<rect class="room" x="{left:.0f}" y="{top}" width="{width:.0f}" '
        f'height="{height}" rx="5"/>',
        f'<text class="name" x="{left + 10:.0f}" y="{top + 19}">{name}</text>',
    ]
    for i, line in enumerate(lines):
        y = top + HEAD + LINE * (i + 1) - 3
        parts.append(f'<text x="{left + 10:.0f}" y="{y}">{escape(line)}</text>')
    return parts


if __name__ == "__main__":
    main()
