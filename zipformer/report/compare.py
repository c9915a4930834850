"""Results of several runs side by side, from the ``wer.json`` files alone.

A row is one run, checkpoint, search, context and mode; a column is a test set.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path

from zipformer.context import UNLIMITED, Context
from zipformer.evaluation.results import FIGURES, Result, read_result
from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.report.comparable import explain, marks_of, same_set

CONTEXT = "chunk/left/right"  # head of a column


@dataclass(frozen=True)
class Entry:
    """A result and the run that it belongs to.

    Args:
        run: Name of the run's folder; with its parents' names where runs share one.
        result: What was decoded, and how well.
        path: The file they come from.
    """

    run: str
    result: Result
    path: Path

    @property
    def context(self) -> Context:
        """What the encoder saw."""
        return Context.parse(self.result.context)

    @property
    def way(self) -> tuple[str, str, str, str, str]:
        """Everything but the test set: run, model, search, context and mode."""
        r = self.result
        return (self.run, r.model, r.method, r.context, r.right_mode)

    @property
    def mode(self) -> str:
        """The mode for a person, who shall not take for a stream what is none."""
        if self.context.is_full:
            return f"{self.result.right_mode} (offline)"
        note = "" if self.result.streamable else " (not streamable)"
        return f"{self.result.right_mode}{note}"

    @property
    def latency(self) -> str:
        """Algorithmic latency for a person."""
        ms = self.result.latency_ms
        return "whole utterance" if ms is None else f"{ms} ms"


def collect(exp_dirs: Iterable[Path], sets: Sequence[str] | None = None) -> list[Entry]:
    """All results under the runs' ``decode`` folders, in the order of a table.

    Args:
        exp_dirs: Folders of runs; those without results add nothing.
        sets: Only these test sets, in this order; None = all, by name.

    Raises:
        ValueError: If nothing is found, a set has no result, a file is damaged, or two files claim
            to be the same result.
    """
    folders = list(dict.fromkeys(Path(d).resolve() for d in exp_dirs))
    names = _unique_names(folders)
    entries: dict[tuple[str, ...], Entry] = {}
    for folder in folders:
        for path in sorted((folder / "decode").glob(f"*/{FIGURES}")):
            entry = Entry(names[folder], read_result(path), path)
            other = entries.setdefault((*entry.way, entry.result.set), entry)
            if other is not entry:
                raise ValueError(f"{other.path} and {path} hold the same result: remove one")
    if not entries:
        listed = ", ".join(str(f) for f in folders) or "no folder"
        raise ValueError(f"no results (decode/*/{FIGURES}) in {listed}: run scripts/decode.py")
    found = {e.result.set for e in entries.values()}
    if sets is None:
        sets = sorted(found)
    elif unknown := [s for s in sets if s not in found]:
        raise ValueError(f"no result on {', '.join(unknown)}; there are {', '.join(sorted(found))}")
    order = {folder: i for i, folder in enumerate(names[f] for f in folders)}
    chosen = [e for e in entries.values() if e.result.set in sets]
    return sorted(chosen, key=lambda e: (order[e.run], _sort_key(e), sets.index(e.result.set)))


def sets_of(entries: Sequence[Entry]) -> list[str]:
    """The test sets, in the order of appearance."""
    return list(dict.fromkeys(e.result.set for e in entries))


def check_sets(entries: Sequence[Entry]) -> None:
    """Refuses results on different test sets of one name: they do not compare.

    Raises:
        ValueError: Naming the set and a file of each kind.
    """
    for a, b in combinations(entries, 2):
        if a.result.set == b.result.set and not same_set(a.result, b.result):
            raise ValueError(
                f"set {a.result.set} is not the same in all results, so they cannot stand in one "
                f"table: {_size(a)} in {a.path}, {_size(b)} in {b.path}. Decode one of them again, "
                "give the sets different names (decode.py --sets name=manifest), or leave a run "
                "or a set out (--sets)"
            )


def make_table(entries: Sequence[Entry]) -> Table:
    """WER in percent: a row for each way of decoding, a column for each test set.

    Where rows differ in more than they show, a last column marks what each has other than the
    first row: ``data`` (trained on), ``settings`` (of the run), ``code`` (that trained or decoded),
    a ``?`` after them where it cannot be told; ``uncommitted`` code is marked in every row.
    """
    sets = sets_of(entries)
    rates = {entry.result.set: entry.result.rate_name for entry in entries}
    ways: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        ways.setdefault(entry.way, []).append(entry)
    rows, marks = [], []
    for members in ways.values():
        entry, wer = members[0], {e.result.set: f"{e.result.wer:.2f}" for e in members}
        cells = [entry.run, entry.result.model, entry.result.method]
        cells += [entry.result.context, entry.latency, entry.mode]
        cells += [_amount(entry.result.train_seconds, 0)]
        cells += [_amount(entry.result.train_audio_seconds / 3600, 1)]
        rows.append(cells + [wer.get(name, NO_RESULT) for name in sets])
        found = {mark for e in members for mark in marks_of(e.result, entries[0].result)}
        marks.append(", ".join(sorted(found)))
    head = ["run", "model", "search", CONTEXT, "latency", "mode"]
    head += ["training s", "training audio h", *(f"{name} {rates[name]} %" for name in sets)]
    if not any(marks):
        return Table(head, rows)
    marked = [[*row, mark] for row, mark in zip(rows, marks, strict=True)]
    return Table([*head, "marks"], marked)


def warnings(entries: Sequence[Entry]) -> list[str]:
    """Reasons for which results may not be comparable."""
    found = []
    for name in sets_of(entries):
        of_set = [e.result for e in entries if e.result.set == name]
        unknown = sum(r.references is None for r in of_set)
        if unknown and len(of_set) > 1:
            found.append(
                f"Whether set {name} is the same in all rows cannot be told: {unknown} of "
                f"{len(of_set)} results are of an older version. Decode again to be sure."
            )
    marks = {mark for e in entries for mark in marks_of(e.result, entries[0].result)}
    return found + explain(marks)


def to_csv(entries: Sequence[Entry]) -> str:
    """One line a result, with all of its values; sizes in frames of 10 ms, -1 = unlimited."""
    columns = [f.name for f in fields(Result)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *columns, "chunk", "left", "right"])
    for entry in entries:
        values = (getattr(entry.result, name) for name in columns)
        c = entry.context
        writer.writerow(
            [entry.run, *("" if v is None else v for v in values), c.chunk, c.left, c.right]
        )
    return text.getvalue()


def _amount(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if value > 0 else NO_RESULT


def _size(entry: Entry) -> str:
    r = entry.result
    said = f", texts {r.references}" if r.references else ""
    units = {"char": "characters", "mixed": "words and characters"}.get(r.unit, "words")
    merged = ", compounds merged" if r.merge_compounds else ""
    return f"{r.words} {units} in {r.utterances} utterances{said}{merged}"


def _sort_key(entry: Entry) -> tuple[object, ...]:
    """By checkpoint and search, then full context first, then chunk, left and right rising."""
    c, r = entry.context, entry.result
    left = math.inf if c.left == UNLIMITED else c.left
    modes = ("windowed", "stream", "padded", "masked")
    mode = modes.index(r.right_mode) if r.right_mode in modes else len(modes)
    return (r.train_steps, r.model, r.method, c.chunk, left, c.right, mode)


def _unique_names(folders: Sequence[Path]) -> dict[Path, str]:
    """The shortest ends of the paths that tell all of them apart."""
    deepest = max((len(f.parts) for f in folders), default=1)
    for depth in range(1, deepest + 1):
        names = {folder: "/".join(folder.parts[-depth:]) for folder in folders}
        if len(set(names.values())) == len(folders):
            return names
    return {folder: str(folder) for folder in folders}
