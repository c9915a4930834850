"""Error rates of parts of a test set: by language, corpus, speaker, or what else its cuts say."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lhotse.cut import Cut

from zipformer.data.manifests import read_cuts
from zipformer.evaluation.results import RECOGNIZED, Result, read_recognized
from zipformer.evaluation.scoring import WordErrors, count_errors
from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.files import replacing

OF_SUPERVISIONS = ("language", "speaker", "gender")
MISSING = "(not said)"  # the group of cuts without the field
MOST_ROWS = 40  # of a table for a person; the file has all


@dataclass(frozen=True)
class GroupErrors:
    """The errors of one group in one result.

    Args:
        group: Value of the field.
        result: Of the whole set.
        utterances: Of the group.
        errors: Theirs.
    """

    group: str
    result: Result
    utterances: int
    errors: WordErrors


def fields_of(cut: Cut) -> dict[str, str]:
    """What a cut can be grouped by: language, speaker, gender, and fields of the corpus's own."""
    custom = dict(getattr(cut, "custom", None) or {})
    found: dict[str, object] = {}
    if cut.supervisions:
        segment = cut.supervisions[0]
        found = {name: getattr(segment, name) for name in OF_SUPERVISIONS}
        custom |= segment.custom or {}
    found |= {k: v for k, v in custom.items() if isinstance(v, str | int | bool)}
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def groups_of(cuts_path: Path, field: str) -> dict[str, str]:
    """The group of each cut of a manifest, by the cut's id.

    Args:
        cuts_path: Cuts manifest, or a folder of shards.
        field: As in ``language``.

    Raises:
        ValueError: If no cut has such a field, with the fields that there are.
    """
    groups, known = dict[str, str](), dict[str, None]()
    for cut in read_cuts(cuts_path):
        fields = fields_of(cut)
        known |= dict.fromkeys(fields)
        groups[cut.id] = fields.get(field, MISSING)
    if field not in known:
        there = f"they have {', '.join(known)}" if known else "they say nothing to group them by"
        raise ValueError(f"--by {field}: no cut of {cuts_path} has such a field; {there}")
    return groups


def errors_by_group(
    result: Result, decode_dir: Path, groups: Mapping[str, str]
) -> list[GroupErrors]:
    """The errors of a decoded set by group, in the order of their names.

    Args:
        result: Whose folder is in ``decode_dir``.
        decode_dir: As ``write_result`` takes it.
        groups: Of every utterance by its cut's id.
    """
    counts: dict[str, GroupErrors] = {}
    for utterance in read_recognized(decode_dir / result.folder / RECOGNIZED):
        group = groups[utterance.cut_id]
        before = counts.get(group, GroupErrors(group, result, 0, WordErrors()))
        errors = before.errors + count_errors(utterance.alignment())
        counts[group] = GroupErrors(group, result, before.utterances + 1, errors)
    return [counts[group] for group in sorted(counts)]


def group_table(field: str, found: Sequence[GroupErrors]) -> tuple[Table, int]:
    """Groups with most words first, a column for each way of decoding.

    Args:
        field: Head of the column of groups.
        found: Of one or several sets and ways.

    Returns:
        The table, and how many rows it leaves out.
    """
    ways = list(dict.fromkeys(_way(one) for one in found))
    rows: dict[tuple[str, str], dict[str, GroupErrors]] = {}
    for one in found:
        rows.setdefault((one.result.set, one.group), {})[_way(one)] = one
    sets = list(dict.fromkeys(name for name, _ in rows))
    lines = []
    for name in sets:
        of_set = [(group, cells) for (of, group), cells in rows.items() if of == name]
        for group, cells in sorted(of_set, key=lambda item: -_first(item[1]).errors.words):
            one = _first(cells)
            rates = [f"{cells[way].errors.wer:.2f}" if way in cells else NO_RESULT for way in ways]
            lines.append([name, group, str(one.utterances), str(one.errors.words), *rates])
    head = ["set", field, "utterances", "said", *(f"{way} %" for way in ways)]
    return Table(head, lines[:MOST_ROWS]), max(len(lines) - MOST_ROWS, 0)


def write_groups(path: Path, field: str, found: Sequence[GroupErrors]) -> None:
    """Writes a CSV with a line for each group of each result."""
    head = ["set", field, "method", "context", "right_mode", "model", "unit"]
    head += ["utterances", "words", "insertions", "deletions", "substitutions", "error_rate"]
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for one in found:
            r, e = one.result, one.errors
            way = [r.set, one.group, r.method, r.context, r.right_mode, r.model, r.unit]
            counts = [one.utterances, e.words, e.insertions, e.deletions, e.substitutions]
            writer.writerow([*way, *counts, f"{e.wer:.4f}"])


def _way(one: GroupErrors) -> str:
    return f"{one.result.context} {one.result.right_mode} {one.result.rate_name}"


def _first(cells: Mapping[str, GroupErrors]) -> GroupErrors:
    return next(iter(cells.values()))
