"""What a study will cost is read off trainings that are there, or measured by a few steps."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from study.conftest import Writer, decode, finish
from tiny_run import write_cuts

from zipformer.study import estimate
from zipformer.study.estimate import estimate_table
from zipformer.study.reading import read_study
from zipformer.study.training import Training, trainings_of

# Stands for the command: a step hears 18 s of audio, and an hour of training 100 hours.
FAKE = """
import json, pathlib, sys
words = sys.argv[1:]
if "context.right" in " ".join(words):
    sys.exit("error: the data is not there")
steps = int(words[words.index("--train.max-steps") + 1])
folder = pathlib.Path([w for before, w in zip(words, words[1:]) if before == "--train.exp-dir"][-1])
folder.mkdir()
record = {"kind": "train", "step": steps, "audio_hours": steps / 200, "hours_per_hour": 100.0}
(folder / "metrics.jsonl").write_text(json.dumps(record) + "\\n")
"""


FILES = '"data.train" = ["{0}"], "data.bpe_model" = "{0}"'  # only that they are there matters


@pytest.fixture
def trainings(
    write_study: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Training]:
    """Each hears two epochs of two cuts, 0.9 and 1.2 s."""
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(estimate, "ZIPFORMER", [sys.executable, str(tmp_path / "fake.py")])
    cuts = write_cuts(tmp_path, "train", ["one", "two"])
    study = read_study(write_study(("title", f"options = {{{FILES.format(cuts)}}}\ntitle")))
    return trainings_of(study)


def row(table: str, name: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_nothing_is_left_of_what_is_done(trainings: list[Training]) -> None:
    for training in trainings:
        finish(training)
        decode(training, 10)
    table = estimate_table(trainings, 1)
    assert [row(table, t.name)[1:] for t in trainings] == [["100", "-", "-", "-"]] * 4
    assert "left: 0:00:00." in table


def test_the_pace_is_measured_once_for_all_seeds_and_what_fails_says_why(
    trainings: list[Training],
) -> None:
    table = estimate_table(trainings, 1)
    assert row(table, "menu-1")[1:] == ["0", "1", "0:00:00", "8 steps, now"]
    assert row(table, "menu-2") == ["menu-2", *row(table, "menu-1")[1:]]
    assert row(table, "none-1")[3:] == ["?", "not known: error: the data is not there"]
    assert "; 2 trainings are not counted in it" in table


def test_files_that_are_missing_are_listed_once_and_nothing_is_tried(
    write_study: Writer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(estimate, "ZIPFORMER", ["no such command"])
    options = 'options = {"data.train" = ["a.jsonl", "b.jsonl"], "data.bpe_model" = "bpe.model"}'
    trainings = trainings_of(read_study(write_study(("title", f"{options}\ntitle"))))
    (tmp_path / "b.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    table = estimate_table(trainings, 1)
    assert row(table, "none-2")[3:] == ["?", "not known: 2 of its files are missing"]
    listed = [line for line in table.splitlines() if line.startswith("- ")]
    assert listed == [
        f"- data.bpe_model: {tmp_path}/bpe.model",
        f"- data.train: {tmp_path}/a.jsonl",
    ]
    assert "; 4 trainings are not counted in it" in table and "prepare the data first" in table


def test_a_training_that_has_begun_tells_the_pace_of_its_seeds(trainings: list[Training]) -> None:
    begun = next(t for t in trainings if t.name == "none-2")
    begun.folder.mkdir(parents=True)
    record = {"kind": "train", "step": 2, "audio_hours": 1.0, "hours_per_hour": 0.001, "done": 0.75}
    (begun.folder / "metrics.jsonl").write_text(json.dumps(record))
    seconds = 2 * (0.9 + 1.2) / 0.001
    table = estimate_table(trainings, 2)
    assert row(table, "none-1")[3:] == [clock(seconds), "none-2"]
    assert row(table, "none-2")[1] == "75" and row(table, "none-2")[3] == clock(seconds / 4)
    assert f"{clock(seconds * 1.25 / 2)} with 2 at a time" in table


def clock(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"
