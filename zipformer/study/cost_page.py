"""Costs as a table, beside what the literature says, and as figures of error rate over cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zipformer.context import Context
from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.report.axis import value_axis
from zipformer.report.chart import Chart, Line, Mark, Point, shape
from zipformer.report.wer_chart import LOG_FROM, rate_label
from zipformer.study.charts import STYLES, without_common
from zipformer.study.costs import Cost
from zipformer.study.counting import SECONDS
from zipformer.study.measuring import Measurement
from zipformer.study.summary import Row

# Parameters in millions of a transducer and operations of its encoder in thousand millions, for
# 30 s of audio in full context: arXiv 2310.11230, table 2. Its Conformers are its own.
PUBLISHED = {
    "Zipformer-S": (23.3, 40.8),
    "Zipformer-M": (65.6, 62.9),
    "Zipformer-L": (148.4, 107.7),
    "Conformer-S": (9.8, 29.1),
    "Conformer-M": (28.4, 77.0),
    "Conformer-L": (122.5, 294.2),
}
SOURCE = "arXiv 2310.11230, table 2"


def cost_table(costs: Sequence[Cost], labels: Mapping[str, str] | None = None) -> Table:
    """A row for each cost; columns that nothing is known of are left out.

    Args:
        costs: Of published sizes, or of a study's runs.
        labels: What runs are called, by name; without them the names are those of sizes, which
            the literature has numbers of.
    """
    head = ["run" if labels else "encoder", "chunk/left/right", "model M", "encoder M", "GFLOPs"]
    head += ["products", "convolutions", "others"]
    rows = []
    for cost in costs:
        name = labels.get(cost.name, cost.name) if labels else cost.name
        params = NO_RESULT if cost.params_m is None else f"{cost.params_m:.1f}"
        cells = [name, cost.context, params, f"{cost.encoder_params_m:.1f}"]
        parts = (cost.gflops_30s, cost.products, cost.convolutions, cost.others)
        rows.append(cells + [f"{value:.2f}" for value in parts])
    table = Table(head, rows)
    if labels is None:
        table = _beside(table, ["published M", "published GFLOPs", "more %"], costs, _published)
    return _beside(table, ["time s", "memory GiB"], costs, _measured)


def said_of(measured: Sequence[Measurement]) -> str:
    """What was measured, in one sentence for each way; empty if nothing was."""
    ways = dict.fromkeys((m.batch, m.device, m.torch_version) for m in measured)
    return " ".join(
        f"Time and memory are of a batch of {batch} x {SECONDS:g} s on {device}, float32, torch "
        f"{version}."
        for batch, device, version in ways
    )


def cost_charts(rows: Sequence[Row], costs: Sequence[Cost]) -> list[Chart]:
    """Error rate over time, and over memory; nothing where none of the rows was measured.

    What was computed under a mask has no place in them: what is measured are windows.

    Args:
        rows: As ``summarize`` gives them.
        costs: Of the study's runs.
    """
    measured = {(cost.name, cost.context): cost.measured for cost in costs if cost.measured}
    shown = [row for row in rows if _key(row) in measured and not _is_masked(row)]
    if not shown:
        return []
    ways = {(m.batch, m.device) for m in measured.values()}
    batch = f"a batch of {next(iter(ways))[0]} x {SECONDS:g} s" if len(ways) == 1 else "a batch"
    return [
        _chart(shown, f"seconds for {batch}", lambda row: measured[_key(row)].seconds),
        _chart(shown, f"GiB of memory for {batch}", lambda row: measured[_key(row)].memory_gib),
    ]


def _chart(rows: Sequence[Row], label: str, value: Callable[[Row], float]) -> Chart:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        names = (row.run.label, f"set {row.way.set}", row.way.right_mode, row.way.method)
        groups.setdefault(names, []).append(row)
    runs = list(dict.fromkeys(row.run.name for row in rows))
    sets = list(dict.fromkeys(row.way.set for row in rows))
    lines = []
    for name, members in zip(without_common(list(groups)), groups.values(), strict=True):
        color = runs.index(members[0].run.name)
        points: list[Point | None] = []
        for row in sorted(members, key=value):
            title = f"{row.run.label}, set {row.way.set}, {row.context}: {row.mean:.2f} %"
            points.append(Point(value(row), row.mean, Mark(shape(color), title)))
        style = STYLES[sets.index(members[0].way.set) % len(STYLES)]
        lines.append(Line(name, color, points, style))
    rate = rate_label([result for row in rows for result in row.results])
    x = value_axis(label, [value(row) for row in rows], LOG_FROM)
    y = value_axis(rate, [row.mean for row in rows])
    return Chart(x, y, lines, [], f"Error rate over {label}")


def _key(row: Row) -> tuple[str, str]:
    return row.run.name, row.way.context


def _is_masked(row: Row) -> bool:
    return row.way.right_mode == "masked" and row.context.right > 0


def _published(cost: Cost) -> list[str]:
    """Parameters, operations, and how many more are counted here."""
    found = PUBLISHED.get(cost.name)
    if found is None or not Context.parse(cost.context).is_full:
        return []
    params, gflops = found
    return [f"{params:.1f}", f"{gflops:.1f}", f"{100 * (cost.gflops_30s / gflops - 1):+.1f}"]


def _measured(cost: Cost) -> list[str]:
    m = cost.measured
    return [f"{m.seconds:.2f}", f"{m.memory_gib:.2f}"] if m else []


def _beside(
    table: Table, head: Sequence[str], costs: Sequence[Cost], cells: Callable[[Cost], list[str]]
) -> Table:
    """With more columns, where any cost has something in them."""
    more = [cells(cost) for cost in costs]
    if not any(more):
        return table
    none = [NO_RESULT] * len(head)
    rows = [row + (found or none) for row, found in zip(table.rows, more, strict=True)]
    return Table([*table.head, *head], rows)
