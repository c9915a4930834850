"""The two studies of ablations change what their rows say, and can be listed without data."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from zipformer.commands import study as verb
from zipformer.config.keys import flatten
from zipformer.config.toml import to_dict
from zipformer.study.description import Study
from zipformer.study.reading import read_study

RECIPES = Path(__file__).parents[2] / "recipes"
CONFIGS = {"librispeech": "medium_offline.toml", "digits": "unified.toml"}
ADAM = {"encoder.module_norms", "optim.base_lr", "optim.kind", "optim.lr_schedule"}
CHANGES = {
    "conformer_blocks": {"encoder.block"},
    "no_nonlin": {"encoder.nonlin_attention"},
    "no_sharing": {"encoder.nonlin_attention", "encoder.share_attention"},
    "no_bypass": {"encoder.bypass"},
    "layer_norm": {"encoder.norm"},
    "swoosh_r": {"encoder.activation"},
    "swish": {"encoder.activation"},
    "fixed_scale": {"optim.learn_scale"},
    **{f"adam_{factor}": {*ADAM, "optim.warmup_batches"} for factor in ("2.5", "5", "7.5", "10")},
    "base_40": {"train.num_epochs"},
    "no_balancer": {"loss.balancer"},
    "no_whiten": {"loss.whiten"},
    "neither": {"loss.balancer", "loss.whiten"},
}
OF_40_EPOCHS = {"base_40", "no_balancer", "no_whiten", "neither"}  # LibriSpeech, table 6


@cache
def study_of(recipe: str) -> Study:
    return read_study(RECIPES / recipe / "studies" / "zipformer_ablations.toml")


@pytest.mark.parametrize("recipe", CONFIGS)
def test_every_run_changes_what_its_name_says(recipe: str) -> None:
    study, shorter = study_of(recipe), OF_40_EPOCHS if recipe == "librispeech" else set()
    settings = {run.name: flatten(to_dict(study.config_of(run, 42))) for run in study.runs}
    base = settings["base"]
    for name, mine in settings.items():
        changed = {key for key in mine if mine[key] != base[key]} - {"train.exp_dir"}
        if name == "no_downsampling":
            assert all(key.startswith("encoder.") for key in changed)
            assert mine["encoder.downsampling"] == [1] and mine["encoder.input_downsampling"] == 2
        elif name != "base":
            assert changed == CHANGES[name] | ({"train.num_epochs"} if name in shorter else set())
    assert not base["encoder.causal"] and base["context.chunk"] == [-1]


def test_both_sizes_have_the_same_runs() -> None:
    libri, digits = ([run.name for run in study_of(recipe).runs] for recipe in CONFIGS)
    assert sorted(libri) == sorted({"base", "no_downsampling", *CHANGES})
    assert digits == [name for name in libri if name != "base_40"]


def test_adam_rises_to_the_rates_of_the_published_factors_at_both_sizes() -> None:
    highest = []
    for recipe in CONFIGS:
        study = study_of(recipe)
        optims = [study.config_of(r, 42).optim for r in study.runs if r.name.startswith("adam")]
        highest.append([o.base_lr / (o.noam_dim * o.warmup_batches) ** 0.5 for o in optims])
    assert highest[1] == pytest.approx(highest[0], rel=0.01)
    assert highest[0] == pytest.approx([f / (512 * 10_000) ** 0.5 for f in (2.5, 5, 7.5, 10)])


def test_every_published_row_is_there_for_both_sets() -> None:
    rows: dict[tuple[str, str], set[str]] = {}
    for row in study_of("librispeech").published:
        rows.setdefault((row.source, row.name), set()).add(row.set)
        assert 2.0 < row.wer < 6.0
    assert set(map(frozenset, rows.values())) == {frozenset({"test-clean", "test-other"})}
    tables = [source.rsplit(" ", 1)[-1] for source, _ in rows]
    assert (tables.count("5"), tables.count("6")) == (10, 4)


@pytest.mark.parametrize("recipe", CONFIGS)
def test_a_dry_run_lists_every_run_and_what_is_missing(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a copy of the recipe where nothing was prepared."""
    (tmp_path / "studies").mkdir()
    shutil.copy(RECIPES / recipe / CONFIGS[recipe], tmp_path)
    path = RECIPES / recipe / "studies" / "zipformer_ablations.toml"
    shutil.copy(path, tmp_path / "studies")
    words = [str(tmp_path / "studies" / path.name), "--exp-dir", str(tmp_path / "exp"), "--dry-run"]
    verb.main(words, "study")
    printed = capsys.readouterr().out
    study = study_of(recipe)
    for run in study.runs:
        for seed in study.seeds_of(run):
            assert f"| {run.name}-{seed} " in printed
    config = study.config_of(study.runs[0], 42)
    assert f"- data.bpe_model: {tmp_path}/data/" in printed
    assert printed.count("- data.train: ") == len(config.data.train)
    assert not (tmp_path / "exp").exists()
