"""``scripts/*.py`` run from a checkout, in another folder, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands.calling import SCRIPTS, script

from zipformer_cli import VERBS

NO_CHECKPOINT = "error: . holds no checkpoint"
MISTAKES: list[tuple[str, list[str], int, str]] = [
    ("train", ["no.toml"], 2, "train.py: error: no.toml: there is no such config"),
    ("decode", ["."], 1, NO_CHECKPOINT),
    ("compare", ["."], 1, "error: no results (decode/*/wer.json) in "),
    ("report", ["."], 1, "error: . is no folder of a run"),
    ("adopt", ["no.pt", "--out", "exp"], 1, "error: no.pt does not exist"),
    ("transcribe", [".", "a.wav"], 1, NO_CHECKPOINT),
    ("export", ["."], 1, NO_CHECKPOINT),
    ("serve", [".", "--max-batch", "0"], 1, "error: max_batch must be positive, got 0"),
    ("listen", ["."], 1, NO_CHECKPOINT),
    ("latency", [".", "--contexts", "32/256/0"], 1, NO_CHECKPOINT),
    ("loadtest", ["ws://127.0.0.1:1", "--audio", "no.jsonl"], 1, "error: cuts manifest no.jsonl"),
]


def test_there_is_a_script_for_every_verb() -> None:
    there = {path.stem for path in SCRIPTS.glob("*.py")}
    assert there | {"check-gpu"} == set(VERBS) and (SCRIPTS / "dev" / "check_gpu.py").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb,arguments,status,message", MISTAKES, ids=[mistake[0] for mistake in MISTAKES]
)
def test_a_typical_mistake_is_one_line(
    tmp_path: Path, verb: str, arguments: list[str], status: int, message: str
) -> None:
    done = script(verb, *arguments, cwd=tmp_path)
    assert (done.status, done.stdout) == (status, ""), done.stderr
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
