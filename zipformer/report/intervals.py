"""How far results can be trusted: intervals of error rates, and of differences between runs."""

from __future__ import annotations

from collections.abc import Sequence

from zipformer.evaluation.resampling import compare, interval
from zipformer.evaluation.results import RECOGNIZED, read_recognized
from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.report.comparable import same_set
from zipformer.report.compare import CONTEXT, Entry


def interval_table(entries: Sequence[Entry], draws: int = 10000) -> Table:
    """A row for each result: its interval, and its difference from the first run decoded like it.

    Intervals hold 95 % of test sets whose utterances are drawn anew, with replacement.

    Args:
        entries: As ``collect`` returns them.
        draws: Resampled test sets.

    Raises:
        ValueError: If the words of a result are damaged.
    """
    firsts: dict[tuple[str, ...], Entry] = {}
    rows = []
    for entry in entries:
        r = entry.result
        utterances = read_recognized(entry.path.with_name(RECOGNIZED))
        own = interval(utterances, draws)
        cells = [entry.run, r.model, r.method, r.context, entry.mode, r.set]
        cells.append(f"{own.a:.2f} [{own.low:.2f}, {own.high:.2f}]")
        first = firsts.setdefault((r.set, r.method, r.context, r.right_mode), entry)
        if first is entry or not same_set(first.result, r):
            rows.append([*cells, NO_RESULT, NO_RESULT])
            continue
        others = read_recognized(first.path.with_name(RECOGNIZED))
        apart = compare([utterances], [others], draws=draws)
        rows.append([*cells, apart.interval, "yes" if apart.is_significant else "no"])
    head = ["run", "model", "search", CONTEXT, "mode", "set", "error rate [95 %]"]
    return Table([*head, "difference from the first run [95 %]", "significant"], rows)
