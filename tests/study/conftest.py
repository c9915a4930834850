"""A study with results that were made up, so that nothing has to be trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation.example_results import example

from zipformer.checkpoint.fingerprint import settings_fingerprint
from zipformer.evaluation.results import write_result
from zipformer.evaluation.scoring import Utterance, references_fingerprint, total_errors
from zipformer.study.description import Study
from zipformer.study.reading import read_study
from zipformer.study.training import Training, trainings_of

CONFIG = """
[train]
num_epochs = 2
[data.test]
clean = "clean.jsonl.gz"
[context]
chunk = [32, -1]
left = [128]
right = [0, 64]
"""
STUDY = """
title = "Menu <b> or none"
exp_dir = "exp"
seeds = [1, 2]
[[runs]]
name = "menu"
config = "config.toml"
[[runs]]
name = "none"
config = "config.toml"
options = { "context.right" = [0] }
[decode]
contexts = ["full", "32/128/0", "32/128/64"]
[show]
baseline = "menu"
figures = ["latency", "right"]
draws = 300
[[published]]
name = "Others"
set = "clean"
wer = 12.5
source = "arXiv 0000.00000"
"""
WORDS = "one two three four five six seven eight nine zero".split()

Writer = Callable[..., Path]


@pytest.fixture
def write_study(tmp_path: Path) -> Writer:
    """Writes the study, with texts in it replaced, and the config of its runs."""

    def write(*changes: tuple[str, str], more: str = "") -> Path:
        (tmp_path / "config.toml").write_text(CONFIG)
        text = STUDY + more
        for old, new in changes:
            assert text.count(old), old
            text = text.replace(old, new)
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def study(write_study: Writer) -> Study:
    return read_study(write_study())


def finish(training: Training) -> None:
    """Leaves the checkpoint that says that a training is over."""
    training.folder.mkdir(parents=True, exist_ok=True)
    (training.folder / f"epoch-{training.config.train.num_epochs}.pt").touch()


def decode(
    training: Training,
    wrong: float,
    contexts: tuple[str, ...] = ("full", "32/128/0", "32/128/64"),
    utterances: int = 40,
    **changes: str,
) -> None:
    """Writes results in which so many percent of the words are not heard."""
    for context in contexts:
        heard, rng = [], np.random.default_rng(training.seed)
        for i in range(utterances):
            said = [WORDS[(i + k) % 10] for k in range(10)]
            kept = [word for word in said if rng.random() >= wrong / 100]
            heard.append(Utterance(f"cut-{i}", tuple(said), tuple(kept)))
        errors = total_errors(heard)
        fields = {
            "references": references_fingerprint(heard),
            "train_settings": settings_fingerprint(training.config),
            "train_data": "data",
            "train_commit": "abc123",
        }
        made_up = example(context, wer=errors.wer, model="epoch2-avg1", words=errors.words)
        result = replace(made_up, **(fields | changes))
        write_result(training.folder / "decode", result, heard)


@pytest.fixture
def decoded(study: Study) -> list[Training]:
    """Everything trained and decoded: the menu makes 10 % errors, none 30 %."""
    trainings = trainings_of(study)
    for training in trainings:
        finish(training)
        decode(training, 10 if training.run.name == "menu" else 30)
    return trainings
