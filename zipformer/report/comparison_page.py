"""A page that compares runs: the plot, the table and where the figures come from, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from zipformer.evaluation.table import NO_RESULT, Table, without_constants
from zipformer.report.compare import CONTEXT, Entry, make_table, warnings
from zipformer.report.style import STYLE
from zipformer.report.wer_plot import wer_plot

UNKNOWN = "unknown"
LEGEND = """<p>Latency is how much audio passes, at most, between a sound and its words, apart from
computing: chunk, right context and the 13 frames that the frontend looks ahead. Contexts are
chunk/left/right in frames of 10 ms. <em>Windowed</em> and <em>stream</em> rows hold the words that
a live stream of that context gives. In <em>masked</em> rows look-ahead accumulates from layer to
layer: with right context no stream can reach them. Point at a mark for its error counts.</p>"""


def to_html(entries: Sequence[Entry], title: str = "Word error rates") -> str:
    """A self-contained page: it loads nothing, and no script runs in it."""
    notes = "".join(f'<p class="warning">{escape(text)}</p>' for text in warnings(entries))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{notes}
<div class="wide">
{wer_plot(entries)}
</div>
{LEGEND}
{rates_html(entries)}
<h2>Where the figures come from</h2>
<div class="wide">
{table_html(sources(entries))}
</div>
</body>
</html>
"""


def rates_html(entries: Sequence[Entry]) -> str:
    """The table of error rates, which come early in it, so that a narrow page shows them.

    What is the same in all rows stands above it.
    """
    table, same = without_constants(make_table(entries), keep=[CONTEXT, "mode"])
    said = "; ".join(f"{name} {value}" for name, value in same.items() if value != NO_RESULT)
    note = f'<p class="dim">The same in all rows: {escape(said)}.</p>\n' if said else ""
    names = table.head
    first = [name for name in ("run", CONTEXT) if name in names]
    first += [name for name in names if name.endswith("%")]
    order = [names.index(n) for n in [*first, *(n for n in names if n not in first)]]
    rows = [[row[i] for i in order] for row in table.rows]
    ordered = Table([names[i] for i in order], rows)
    return f'{note}<div class="wide">\n{table_html(ordered)}\n</div>'


def sources(entries: Sequence[Entry]) -> Table:
    """Checkpoint, code and data behind the figures, a row for each combination."""
    rows: dict[tuple[str, ...], None] = {}
    for e in entries:
        r = e.result
        key: tuple[str, ...] = (
            e.run,
            r.model,
            r.checkpoint,
            str(r.train_steps),
            r.train_data or UNKNOWN,
        )
        key += (r.train_settings or UNKNOWN, _short(r.train_commit), _short(r.git_commit))
        key += (r.torch_version, r.device, r.chosen or "on the command line")
        rows[key] = None
    head = ["run", "model", "checkpoint", "training steps", "training data", "settings"]
    head += ["trained by code", "decoded by code", "torch", "decoded on", "checkpoint chosen"]
    return Table(head, [list(row) for row in rows])


def table_html(table: Table) -> str:
    """The table element; rows that no stream gives are grey."""
    head = "".join(
        _cell("th", name, "figure" * f) for name, f in zip(table.head, table.figures, strict=True)
    )
    lines = [f"<table>\n<tr>{head}</tr>"]
    for row in table.rows:
        barred = " barred" if any("not streamable" in cell for cell in row) else ""
        cells = (
            _cell("td", cell, ("figure" * f + barred).strip())
            for cell, f in zip(row, table.figures, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</table>"])


def _short(commit: str | None) -> str:
    if commit is None:
        return UNKNOWN
    return commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")


def _cell(tag: str, text: str, kind: str) -> str:
    marked = f' class="{kind}"' if kind else ""
    return f"<{tag}{marked}>{escape(text)}</{tag}>"
