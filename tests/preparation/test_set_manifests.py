"""A set of cuts as files: what is not meant to be used is no fault, what is damaged is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.small_corpus import make_cuts
from lhotse import CutSet, SupervisionSet

from local.lib.set_manifests import NOT_FOR_USE, manifest, write_set
from local.lib.skipped import Skipped, read_skipped, skipped_beside


def faults(reason: str) -> list[Skipped]:
    return [Skipped(f"u{number}", "list.json", reason) for number in range(12)]


def test_what_is_not_meant_to_be_used_is_listed_but_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cuts = list(make_cuts(tmp_path, [1.0, 2.0]))
    write_set("p", "train", cuts, faults(NOT_FOR_USE), tmp_path, 0.01)
    assert [cut.id for cut in CutSet.from_file(manifest(tmp_path, "p", "cuts", "train"))] == [
        cut.id for cut in cuts
    ]
    supervisions = SupervisionSet.from_file(manifest(tmp_path, "p", "supervisions", "train"))
    assert len(supervisions) == 2
    assert len(read_skipped(skipped_beside(manifest(tmp_path, "p", "cuts", "train")))) == 12
    assert f"left out 12: {NOT_FOR_USE}" in capsys.readouterr().out


def test_too_much_that_is_damaged_is_an_error_and_so_is_nothing(tmp_path: Path) -> None:
    cuts = list(make_cuts(tmp_path, [1.0, 2.0]))
    with pytest.raises(ValueError, match="p, train: 12 of 14"):
        write_set("p", "train", cuts, faults("damaged audio"), tmp_path, 0.01)
    with pytest.raises(ValueError, match="corpus/train: not a single utterance"):
        write_set("p", "train", [], [], tmp_path, 0.01, "corpus/train")
