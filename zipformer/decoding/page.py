"""A page that compares runs: the plot, the table and where the figures come from, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from zipformer.decoding.compare import Entry, Table, make_table, warnings
from zipformer.decoding.plot import wer_plot

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff; }
svg { width: 100%; height: auto; border: 1px solid #ddd; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left;
         white-space: nowrap; }
.figure { text-align: right; font-variant-numeric: tabular-nums; }
.barred { color: #777; font-style: italic; }
.warning { background: #fff3cd; padding: 0.4rem 0.8rem; }
"""


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
{wer_plot(entries)}
<p>Latency is how much audio passes, at most, between a sound and its words, apart from computing:
chunk, right context and the 13 frames that the frontend looks ahead. Contexts are
chunk/left/right in frames of 10 ms. <em>Windowed</em> and <em>stream</em> rows hold the words that
a live stream of that context gives. In <em>masked</em> rows look-ahead accumulates from layer to
layer: with right context no stream can reach them. Point at a mark for its error counts.</p>
<div class="wide">
{_table(make_table(entries))}
</div>
<h2>Where the figures come from</h2>
<div class="wide">
{_table(_sources(entries))}
</div>
</body>
</html>
"""


def _sources(entries: Sequence[Entry]) -> Table:
    rows: dict[tuple[str, ...], None] = {}
    for e in entries:
        r = e.result
        code = (r.git_commit or "unknown")[:12] + (
            "-dirty" if "-dirty" in str(r.git_commit) else ""
        )
        key = (e.run, r.model, r.checkpoint, str(r.train_steps), code, r.torch_version, r.device)
        rows[key] = None
    head = ["run", "model", "checkpoint", "training steps", "code", "torch", "decoded on"]
    return Table(head, [list(row) for row in rows])


def _table(table: Table) -> str:
    figure = [name.endswith("%") for name in table.head]
    head = "".join(
        _cell("th", name, "figure" * f) for name, f in zip(table.head, figure, strict=True)
    )
    lines = [f"<table>\n<tr>{head}</tr>"]
    for row in table.rows:
        barred = " barred" if any("not streamable" in cell for cell in row) else ""
        cells = (
            _cell("td", cell, ("figure" * f + barred).strip())
            for cell, f in zip(row, figure, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</table>"])


def _cell(tag: str, text: str, kind: str) -> str:
    marked = f' class="{kind}"' if kind else ""
    return f"<{tag}{marked}>{escape(text)}</{tag}>"
