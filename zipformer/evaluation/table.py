"""Tables as text, and how they are written in Markdown."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

NO_RESULT = "-"


@dataclass(frozen=True)
class Table:
    """Cells as text: the head, and rows as long as it."""

    head: list[str]
    rows: list[list[str]]

    @property
    def figures(self) -> list[bool]:
        """Which columns hold numbers, as the unit at the end of their heads tells."""
        return [name.endswith(("%", " s", " h")) for name in self.head]


def without_constants(table: Table, keep: Collection[str]) -> tuple[Table, dict[str, str]]:
    """The columns whose cells differ, and the others' only cells by their heads.

    Args:
        table: With several rows; a single one stays as it is.
        keep: Heads of columns that stay anyway, as do figures in percent.
    """
    if len(table.rows) < 2:
        return table, {}
    columns = list(zip(*table.rows, strict=True))
    stays = [
        len(set(cells)) > 1 or name in keep or name.endswith("%")
        for name, cells in zip(table.head, columns, strict=True)
    ]
    dropped = {
        name: cells[0]
        for name, cells, stay in zip(table.head, columns, stays, strict=True)
        if not stay
    }
    lines = [[cell for cell, s in zip(line, stays, strict=True) if s] for line in table.rows]
    return Table([name for name in table.head if name not in dropped], lines), dropped


def to_markdown(table: Table) -> str:
    """A pipe table with aligned columns; figures to the right."""
    lines = [table.head, *table.rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in cells) for i in range(len(table.head))]
    right = table.figures
    rule = [f"{'-' * (w - 1)}:" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    text = []
    for line in [cells[0], rule, *cells[1:]]:
        padded = [
            cell.rjust(width) if r else cell.ljust(width)
            for cell, width, r in zip(line, widths, right, strict=True)
        ]
        text.append(f"| {' | '.join(padded)} |")
    return "\n".join(text)
