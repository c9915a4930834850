"""Error rates by group: they add up to those of the set, and every cut is in one group."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation.example_results import UTTERANCES, example
from lhotse import CutSet
from tiny_run import write_cuts

from zipformer.evaluation.groups import (
    MISSING,
    MOST_ROWS,
    GroupErrors,
    errors_by_group,
    fields_of,
    group_table,
    groups_of,
    write_groups,
)
from zipformer.evaluation.results import write_result
from zipformer.evaluation.scoring import WordErrors


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three cuts: an English one, a German one of a corpus, and one of which nothing is said."""
    cuts = list(CutSet.from_file(write_cuts(tmp_path, "set", ["one", "two", "three"])))
    for cut, language in zip(cuts, ("en", "de", None), strict=True):
        cut.supervisions = [replace(cut.supervisions[0], language=language)]
    cuts[1].supervisions[0].custom = {"corpus": "calls", "raw": ["no", "text"]}
    path = tmp_path / "grouped.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(path)
    return path


def test_a_field_is_a_supervisions_or_of_the_corpus_own(manifest: Path) -> None:
    assert list(groups_of(manifest, "language").values()) == ["en", "de", MISSING]
    assert list(groups_of(manifest, "corpus").values()) == [MISSING, "calls", MISSING]
    cut = list(CutSet.from_file(manifest))[1]
    assert fields_of(cut)["corpus"] == "calls" and "raw" not in fields_of(cut)


def test_a_field_that_no_cut_has_is_refused_with_those_there_are(manifest: Path) -> None:
    with pytest.raises(ValueError, match=r"no cut of .*grouped.* they have .*language"):
        groups_of(manifest, "dialect")


def test_groups_add_up_to_the_set(tmp_path: Path) -> None:
    result = example()
    write_result(tmp_path, result, UTTERANCES)
    found = errors_by_group(result, tmp_path, {"utt-a": "x", "utt-b": "y"})
    assert [(one.group, one.utterances) for one in found] == [("x", 1), ("y", 1)]
    assert found[0].errors == WordErrors(deletions=1, words=2)
    assert sum((one.errors for one in found), WordErrors()) == result.errors
    (whole,) = errors_by_group(result, tmp_path, {"utt-a": "x", "utt-b": "x"})
    assert whole.errors == result.errors and whole.utterances == 2


def test_the_table_has_a_row_for_each_group_and_the_file_has_all(tmp_path: Path) -> None:
    many = [
        GroupErrors(f"speaker {i:02}", result, 1, WordErrors(deletions=1, words=i + 1))
        for result in (example(), example("full"))
        for i in range(MOST_ROWS + 2)
    ]
    table, more = group_table("speaker", many)
    assert table.head[4:] == ["32/256/64 windowed WER %", "full windowed WER %"]
    assert more == 2 and len(table.rows) == MOST_ROWS
    assert table.rows[0] == ["clean", "speaker 41", "1", "42", "2.38", "2.38"]
    write_groups(tmp_path / "by.csv", "speaker", many)
    with open(tmp_path / "by.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(many) and lines[1]["error_rate"] == "50.0000"
