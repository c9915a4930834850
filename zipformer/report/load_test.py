"""Several load tests side by side: tables, files, and what one folder collects."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.files import write_text
from zipformer.report.chart import to_svg_file
from zipformer.report.load_chart import TITLE, load_charts
from zipformer.serving.load import Level

NAME = "loadtest"


def collect_levels(folder: Path, levels: Sequence[Level]) -> list[Level]:
    """Puts levels into a folder, beside those of earlier runs, and writes its files anew.

    A level replaces an earlier one of the same label, pace and concurrency.

    Args:
        folder: Gets ``loadtest.json``, ``loadtest.csv`` and ``loadtest.svg``.
        levels: New ones.

    Returns:
        All levels of the folder, in the order of a table.

    Raises:
        ValueError: If the folder's ``loadtest.json`` is damaged.
    """
    path = folder / f"{NAME}.json"
    known = {_key(level): level for level in read_levels(path)} if path.exists() else {}
    known |= {_key(level): level for level in levels}
    merged = sorted(known.values(), key=_order)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps([asdict(level) for level in merged], indent=2, allow_nan=False))
    write_text(folder / f"{NAME}.csv", to_csv(merged))
    write_text(folder / f"{NAME}.svg", to_svg_file(TITLE, load_charts(merged)))
    return merged


def read_levels(path: Path) -> list[Level]:
    """Reads a ``loadtest.json``.

    Raises:
        ValueError: Naming the file, if it is damaged.
    """
    try:
        return [Level(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is no load test ({error}): remove it, or name another --out"
        ) from error


def level_table(levels: Sequence[Level]) -> Table:
    """A row for each level."""
    head = ["served", "calls at once", "pace", "calls", "failed", "words lost", "WER %"]
    head += ["final-chunk latency p50 / p90 / p99 ms", "RTF p50 / p90", "audio s per s"]
    head += ["sent late, p99 ms"]
    rows = []
    for level in levels:
        latency = (level.latency_p50, level.latency_p90, level.latency_p99)
        row = [level.label, str(level.concurrency), level.pace, str(level.calls)]
        row += [str(level.failed), str(level.words_lost), _number(level.wer, 2)]
        row += [" / ".join(_number(value, 0) for value in latency)]
        row += [f"{_number(level.rtf_p50, 3)} / {_number(level.rtf_p90, 3)}"]
        row += [f"{level.throughput:.1f}", _number(level.lateness_p99, 0)]
        rows.append(row)
    return Table(head, rows)


def crossed_table(levels: Sequence[Level]) -> Table:
    """What was served against how many calls: median final-chunk latency and real-time factor."""
    counts = sorted({level.concurrency for level in levels})
    labels = list(dict.fromkeys((level.label, level.pace) for level in levels))
    by_place = {_key(level): level for level in levels}
    rows = []
    for label, pace in labels:
        row = [f"{label} ({pace})"]
        for count in counts:
            level = by_place.get((label, pace, count))
            if level is None:
                row.append(NO_RESULT)
            else:
                row.append(f"{_number(level.latency_p50, 0)} ms / {_number(level.rtf_p50, 3)}")
        rows.append(row)
    return Table(["latency / RTF, medians", *(f"{count} calls" for count in counts)], rows)


def to_csv(levels: Sequence[Level]) -> str:
    """A line for each level, with all of its values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Level)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(level) for level in levels)
    return text.getvalue()


def _key(level: Level) -> tuple[str, str, int]:
    return level.label, level.pace, level.concurrency


def _order(level: Level) -> tuple[object, ...]:
    """Numbers within labels count as numbers: right 64 comes before right 128."""
    parts = re.split(r"(\d+)", level.label)
    label = [int(p) if p.isdigit() else p for p in parts]
    return label, level.pace, level.concurrency


def _number(value: float | None, digits: int) -> str:
    return NO_RESULT if value is None else f"{value:.{digits}f}"
