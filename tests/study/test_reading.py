"""A study file is read strictly: whatever is wrong in it is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from study.conftest import Writer

from zipformer.study.description import Study
from zipformer.study.reading import read_study
from zipformer.study.training import trainings_of

ROOT = Path(__file__).parents[2]


def test_a_run_is_its_config_with_changes_its_seed_and_its_folder(study: Study) -> None:
    training = trainings_of(study)[1]
    assert (training.name, training.seed) == ("none-1", 1)
    assert training.config.context.right == (0,)
    assert training.config.context.chunk == (32, -1)
    assert training.config.train.seed == 1
    assert training.config.train.exp_dir == training.folder == study.exp_dir / "none-1"


def test_options_of_all_runs_give_way_to_those_of_one(write_study: Writer) -> None:
    path = write_study(
        (
            "seeds = [1, 2]",
            'seeds = [1, 2]\noptions = { context.right = [64], "optim.base_lr" = 1 }',
        )
    )
    study = read_study(path)
    menu, none = (study.config_of(run, 1) for run in study.runs)
    assert (menu.context.right, none.context.right) == ((64,), (0,))
    assert menu.optim.base_lr == none.optim.base_lr == 1.0


def test_every_run_has_its_first_seed_before_any_has_its_second(study: Study) -> None:
    assert [t.name for t in trainings_of(study)] == ["menu-1", "none-1", "menu-2", "none-2"]


def test_the_folder_is_called_after_the_file_where_it_says_nothing(
    write_study: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_study(('exp_dir = "exp"\n', ""))
    assert read_study(path).exp_dir == tmp_path / "exp" / "study"
    assert read_study(path, tmp_path / "other").exp_dir == tmp_path / "other"


def test_studies_may_share_their_runs_and_keep_their_pages(
    write_study: Writer, tmp_path: Path
) -> None:
    study = read_study(write_study(('exp_dir = "exp"\n', 'exp_dir = "a"\nruns_dir = "../all"\n')))
    assert study.exp_dir == tmp_path / "a" and study.runs_dir == tmp_path.parent / "all"
    assert {t.folder.parent for t in trainings_of(study)} == {study.runs_dir}
    elsewhere = read_study(study.exp_dir.parent / "study.toml", tmp_path / "b")
    assert elsewhere.exp_dir == elsewhere.runs_dir == tmp_path / "b"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Menu', 'titel = "Menu', "unknown key 'titel'; known: title, note"),
        ('name = "none"', 'name = "menu"', "two runs are called menu"),
        ('name = "none"\nconfig = "config.toml"', 'name = "none"', "number 2 has no config"),
        ('config = "config.toml"\nopt', 'config = "gone.toml"\nopt', "gone.toml: there is no such"),
        ('name = "none"', 'name = "a/b"', "name 'a/b': use letters"),
        ('name = "none"', 'name = "none"\nseed = 3', "unknown key 'seed'"),
        (
            '"context.right" = [0]',
            '"context.rihgt" = [0]',
            "run none: --context.rihgt: unknown key",
        ),
        (
            '"context.right" = [0]',
            '"train.seed" = 3',
            "train.seed is set by the study: write seeds",
        ),
        ("seeds = [1, 2]", "seeds = [1, 1]", "one seed or several different ones"),
        ("seeds = [1, 2]", "seeds = []", "one seed or several different ones"),
        ('"32/128/64"]', '"33/128/64"]', "run menu: .*33"),
        (
            '"32/128/64"]',
            '"32/128/64"]\nsets = ["dirty"]',
            "no test set dirty in data.test; it has",
        ),
        (
            'figures = ["latency", "right"]',
            'figures = ["left"]',
            "'left' is none of right, latency",
        ),
        ('baseline = "menu"', 'baseline = "meun"', "'meun' is no run; runs: menu, none"),
        ("wer = 12.5", "", "published"),
        ('title = "Menu', 'title = ["Menu', "study.toml: "),
    ],
)
def test_mistakes_are_named(write_study: Writer, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_study(write_study((old, new)))


def test_a_study_needs_runs(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text('title = "nothing"')
    with pytest.raises(ValueError, match=r"at least one \[\[runs\]\]"):
        read_study(tmp_path / "empty.toml")
    with pytest.raises(ValueError, match="there is no such study"):
        read_study(tmp_path / "gone.toml")


def test_every_study_of_the_recipes_can_be_read() -> None:
    paths = sorted(ROOT.glob("recipes/*/studies/*.toml"))
    assert paths
    for path in paths:
        study = read_study(path)
        for training in trainings_of(study):
            assert training.config.train.exp_dir == training.folder
