"""A page that compares runs: the plot, the table and where its numbers come from, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zipformer.evaluation.table import NO_RESULT, Table, without_constants
from zipformer.report.chart import Frame, large
from zipformer.report.compare import CONTEXT, Entry, make_table, warnings
from zipformer.report.rendering import render
from zipformer.report.wer_chart import wer_chart

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Rates:
    """Decoded results as pages show them.

    Args:
        warnings: Why they may not be comparable.
        frame: The plot.
        table: Error rates, which come early in it, so that a narrow page shows them.
        same_in_all_rows: What the table leaves out because all rows share it.
        sources: Checkpoint, code and data that the numbers come from.
    """

    warnings: list[str]
    frame: Frame
    table: Table
    same_in_all_rows: str
    sources: Table


def to_html(entries: Sequence[Entry], title: str = "Word error rates") -> str:
    """A self-contained page: it loads nothing, and no script runs in it."""
    return render("comparison.html", title=title, rates=to_rates(entries))


def to_rates(entries: Sequence[Entry]) -> Rates:
    """What a page shows of results.

    Args:
        entries: At least one, as ``collect`` returns them.
    """
    table, same = without_constants(make_table(entries), keep=[CONTEXT, "mode"])
    names = table.head
    first = [name for name in ("run", CONTEXT) if name in names]
    first += [name for name in names if name.endswith("%")]
    order = [names.index(name) for name in dict.fromkeys([*first, *names])]
    return Rates(
        warnings=warnings(entries),
        frame=large(wer_chart(entries)),
        table=Table([names[i] for i in order], [[row[i] for i in order] for row in table.rows]),
        same_in_all_rows="; ".join(
            f"{n} {value}" for n, value in same.items() if value != NO_RESULT
        ),
        sources=_sources(entries),
    )


def _sources(entries: Sequence[Entry]) -> Table:
    """A row for each combination of checkpoint, code and data."""
    head = ["run", "model", "checkpoint", "training steps", "training data", "settings"]
    head += ["trained by code", "decoded by code", "torch", "decoded on", "checkpoint chosen"]
    rows = []
    for entry in entries:
        r = entry.result
        row = [entry.run, r.model, r.checkpoint, str(r.train_steps), r.train_data or UNKNOWN]
        row += [r.train_settings or UNKNOWN, _short(r.train_commit), _short(r.git_commit)]
        row += [r.torch_version, r.device, r.chosen or "on the command line"]
        if row not in rows:
            rows.append(row)
    return Table(head, rows)


def _short(commit: str | None) -> str:
    if commit is None:
        return UNKNOWN
    return commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")
