"""Intervals tell a difference between two runs from what another test set could have given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation.example_results import example

from zipformer.commands import compare as verb
from zipformer.evaluation.results import write_result
from zipformer.evaluation.scoring import Utterance, references_fingerprint, total_errors
from zipformer.report.compare import collect
from zipformer.report.intervals import interval_table


def write_run(folder: Path, wrong: float, seed: int, contexts: tuple[str, ...] = ("full",)) -> Path:
    """Results in which such a share of the words is not heard."""
    rng = np.random.default_rng(seed)
    for context in contexts:
        heard = []
        for i in range(60):
            said = tuple(f"w{k}" for k in range(10))
            heard.append(Utterance(f"c{i}", said, tuple(w for w in said if rng.random() >= wrong)))
        errors = total_errors(heard)
        made_up = example(context, wer=errors.wer, words=errors.words)
        result = replace(made_up, references=references_fingerprint(heard))
        write_result(folder / "decode", result, heard)
    return folder


def test_an_interval_holds_its_rate_and_tells_large_differences_from_small(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, wrong, i)
        for i, (name, wrong) in enumerate([("a", 0.1), ("b", 0.11), ("c", 0.3)])
    ]
    table = interval_table(collect(runs), draws=500)
    assert [row[-1] for row in table.rows] == ["-", "no", "yes"]
    for row, entry in zip(table.rows, collect(runs), strict=True):
        rate, low, high = map(
            float, row[-3].replace("[", "").replace("]", "").replace(",", "").split()
        )
        assert rate == pytest.approx(entry.result.wer, abs=0.005) and low < rate < high
    apart = collect(runs)[2].result.wer - collect(runs)[0].result.wer
    assert table.rows[2][-2].startswith(f"{apart:+.2f} [")


def test_runs_are_compared_at_the_same_context_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contexts = ("full", "32/256/0")
    runs = [write_run(tmp_path / n, w, 1, contexts) for n, w in (("a", 0.1), ("b", 0.4))]
    rows = interval_table(collect(runs), draws=200).rows
    assert [(row[0], row[-1]) for row in rows] == [
        ("a", "-"),
        ("a", "-"),
        ("b", "yes"),
        ("b", "yes"),
    ]
    verb.main([*map(str, runs), "--intervals"], "compare")
    assert "95 % intervals" in capsys.readouterr().out
