"""What a study writes: one page with figures and tables, and its results as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields

from zipformer.evaluation.results import Result
from zipformer.evaluation.table import NO_RESULT, Table, without_constants
from zipformer.report.chart import Chart, Frame, large, small
from zipformer.report.comparable import explain
from zipformer.report.rendering import render
from zipformer.study.charts import rates_chart
from zipformer.study.cost_page import cost_charts, cost_table, said_of
from zipformer.study.costs import Cost
from zipformer.study.description import Figure, Study
from zipformer.study.epochs import epochs_chart
from zipformer.study.summary import Row, explain_marks
from zipformer.study.training import Training

LATENCY = "Latency@50 / @90 ms"


@dataclass(frozen=True)
class Part:
    """What the page shows of one test set.

    Args:
        set: Its name.
        table: Error rates.
        same: What the table leaves out because all rows share it.
    """

    set: str
    table: Table
    same: str


def to_html(
    study: Study, trainings: Sequence[Training], rows: Sequence[Row], costs: Sequence[Cost] = ()
) -> str:
    """The page of a study, as far as it has come; it loads nothing, and no script runs in it."""
    labels = {run.name: run.label for run in study.runs}
    charts = [_chart(study, trainings, rows, figure) for figure in study.show.figures]
    frames: list[Frame] = [large(chart) for chart in charts if chart is not None]
    return render(
        "study.html",
        title=study.title,
        note=study.note,
        warnings=notes(rows),
        frames=frames,
        parts=[_part(study, rows, name) for name in sets_of(rows)],
        costs=cost_table(costs, labels) if costs else None,
        measured=said_of([cost.measured for cost in costs if cost.measured]),
        cost_frames=[small(chart) for chart in cost_charts(rows, costs)],
        state=state_table(trainings),
        failures=[(t.name, t.failure) for t in trainings if t.failure],
        baseline=study.show.baseline or study.runs[0].name,
        draws=study.show.draws,
        units=study.show.units,
    )


def sets_of(rows: Sequence[Row]) -> list[str]:
    """Names of the test sets, in the order of appearance."""
    return list(dict.fromkeys(row.way.set for row in rows))


def notes(rows: Sequence[Row]) -> list[str]:
    """What a reader must know before he compares rows."""
    return explain({mark for row in rows for mark in row.marks}) + explain_marks(rows)


def rates_table(study: Study, rows: Sequence[Row]) -> Table:
    """A row for each run and way of one test set, and then what others have published."""
    seeds = max((len(study.seeds_of(run)) for run in study.runs), default=1)
    rate = rows[0].results[0].rate_name if rows else "WER"
    head = ["run", "search", "chunk/left/right", "mode", f"{rate} %", "sd %", "seeds"]
    head += [LATENCY, "relative %", "difference [95 %]", "significant", "marks"]
    table = []
    for row in rows:
        difference = row.difference
        cells = [row.run.label, row.way.method, row.way.context, row.way.right_mode]
        cells += [f"{row.mean:.2f}", NO_RESULT if row.spread is None else f"{row.spread:.2f}"]
        cells += [f"{len(row.seeds)} of {len(study.seeds_of(row.run))}"]
        cells += [NO_RESULT if row.latency is None else str(row.latency)]
        cells += [NO_RESULT if row.relative is None else f"{row.relative:+.1f}"]
        if difference is None:
            cells += [NO_RESULT, NO_RESULT]
        else:
            cells += [difference.interval, "yes" if difference.is_significant else "no"]
        table.append([*cells, ", ".join(row.marks)])
    names = sets_of(rows)
    for other in (p for p in study.published if p.set in names):
        cells = [f"{other.name} (published: {other.source})", NO_RESULT, other.context or NO_RESULT]
        cells += [NO_RESULT, f"{other.wer:.2f}"]
        table.append(cells + [NO_RESULT] * (len(head) - 6) + [""])
    if seeds == 1:
        head, table = _without(head, table, "sd %")
    if not any(row.latency for row in rows):
        head, table = _without(head, table, LATENCY)
    if not any(line[-1] for line in table):
        head, table = _without(head, table, "marks")
    return Table(head, table)


def state_table(trainings: Sequence[Training]) -> Table:
    """How far each training has come."""
    rows = []
    for training in trainings:
        left = sum(1 for _ in training.decode_words()) if training.is_trained else 0
        decoded = "yes" if training.is_trained and not left else "no"
        failure = training.failure
        state = f"failed: {failure}" if failure else ("done" if decoded == "yes" else "open")
        rows.append([training.name, f"{100 * training.done:.0f}", decoded, state])
    return Table(["training", "trained %", "decoded", "state"], rows)


def to_csv(trainings: Sequence[Training]) -> str:
    """One line a result, with all of its values."""
    columns = [f.name for f in fields(Result)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "seed", *columns])
    for training in trainings:
        for result in training.results():
            values = (getattr(result, name) for name in columns)
            writer.writerow(
                [training.run.name, training.seed, *("" if v is None else v for v in values)]
            )
    return text.getvalue()


def _chart(
    study: Study, trainings: Sequence[Training], rows: Sequence[Row], figure: Figure
) -> Chart | None:
    if figure == "epoch":
        return epochs_chart(trainings)
    return rates_chart(rows, study.published, figure)


def _part(study: Study, rows: Sequence[Row], name: str) -> Part:
    full = rates_table(study, [row for row in rows if row.way.set == name])
    table, same = without_constants(full, keep=["run", "chunk/left/right", "significant"])
    said = "; ".join(f"{head} {value}" for head, value in same.items() if value != NO_RESULT)
    return Part(name, table, said)


def _without(
    head: list[str], rows: list[list[str]], column: str
) -> tuple[list[str], list[list[str]]]:
    i = head.index(column)
    return head[:i] + head[i + 1 :], [row[:i] + row[i + 1 :] for row in rows]
