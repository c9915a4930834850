"""A set of Chinese is scored by characters, wherever it is scored; words stay words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import tiny_run, write_cuts

from zipformer.checkpoint.loading import LoadedModel
from zipformer.config import ScoringConfig
from zipformer.context import Context
from zipformer.evaluation.evaluate import evaluate
from zipformer.evaluation.results import FIGURES, Mode, read_result
from zipformer.report.compare import check_sets, collect, make_table


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("mode", ["windowed", "stream"])
def test_characters_are_counted_and_written_as_cer(
    loaded: LoadedModel, tmp_path: Path, mode: Mode
) -> None:
    cuts = write_cuts(tmp_path, "set", ["你好吗", "好 吗"])
    context = Context(32, 128, 0)
    result = evaluate(loaded, cuts, "set", context, mode, decode_dir=tmp_path / "decode")
    stored = json.loads((tmp_path / "decode" / result.folder / FIGURES).read_text())
    assert result.words == 5 and result.unit == stored["unit"] == "char"
    assert stored["cer"] == stored["wer"] == result.wer
    assert read_result(tmp_path / "decode" / result.folder / FIGURES) == result
    assert "set CER %" in make_table(collect([tmp_path])).head


@pytest.mark.parametrize(
    ("text", "unit", "words", "name"),
    [
        ("one two", "auto", 2, "word"),
        ("one two", "char", 6, "char"),
        ("你好 one", "auto", 3, "mixed"),
        ("你好 one", "word", 2, "word"),
    ],
)
def test_the_recipe_chooses_the_unit(
    loaded: LoadedModel, tmp_path: Path, text: str, unit: str, words: int, name: str
) -> None:
    rules = ScoringConfig(unit=unit)  # type: ignore[arg-type]
    by_rules = replace(loaded, config=replace(loaded.config, scoring=rules))
    cuts = write_cuts(tmp_path, "set", [text])
    result = evaluate(by_rules, cuts, "set", Context.full(), decode_dir=tmp_path)
    assert (result.words, result.unit) == (words, name)
    stored = json.loads((tmp_path / result.folder / FIGURES).read_text())
    assert ("unit" in stored) == (name != "word") and ("cer" in stored) == (name == "char")


def test_results_in_different_units_do_not_compare(loaded: LoadedModel, tmp_path: Path) -> None:
    cuts = write_cuts(tmp_path, "set", ["one two"])
    for unit in ("word", "char"):
        rules = ScoringConfig(unit=unit)  # type: ignore[arg-type]
        by_rules = replace(loaded, config=replace(loaded.config, scoring=rules))
        evaluate(by_rules, cuts, "set", Context.full(), decode_dir=tmp_path / unit / "decode")
    entries = collect([tmp_path / "word", tmp_path / "char"])
    with pytest.raises(ValueError, match="2 words in 1 .*6 characters in 1 "):
        check_sets(entries)


def test_results_with_merged_compounds_do_not_compare_with_others(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    cuts = write_cuts(tmp_path, "set", ["one two"])
    for merged in (False, True):
        rules = ScoringConfig(merge_compounds=merged)
        by_rules = replace(loaded, config=replace(loaded.config, scoring=rules))
        folder = tmp_path / str(merged) / "decode"
        result = evaluate(by_rules, cuts, "set", Context.full(), decode_dir=folder)
        stored = json.loads((folder / result.folder / FIGURES).read_text())
        assert ("merge_compounds" in stored) == merged
        assert read_result(folder / result.folder / FIGURES) == result
    with pytest.raises(ValueError, match="compounds merged"):
        check_sets(collect([tmp_path / "False", tmp_path / "True"]))
