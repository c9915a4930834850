"""Entries of ``data.train`` with a weight: read, written, typed, and refused in one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from zipformer.config import WeightedManifest
from zipformer.config.command_line import load_config
from zipformer.config.reading import from_dict
from zipformer.config.toml import to_dict, to_toml

LISTS = {
    "inline": 'train = ["a.gz", {path = "b, c.gz", weight = 3}]\n',
    "tables": '[[data.train]]\npath = "a.gz"\n[[data.train]]\npath = "b.gz"\nweight = 0.5\n',
    "paths": 'train = ["a.gz", "b.gz"]\n',
}


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text if text.startswith("[[") else f"[data]\n{text}")
    return path


def test_an_entry_is_a_path_or_a_path_with_a_weight(tmp_path: Path) -> None:
    found = {name: load_config(written(tmp_path, text)).data for name, text in LISTS.items()}
    a, b = tmp_path / "a.gz", tmp_path / "b.gz"
    assert found["inline"].train == (a, WeightedManifest(tmp_path / "b, c.gz", 3.0))
    assert found["tables"].corpora == (WeightedManifest(a, 1.0), WeightedManifest(b, 0.5))
    assert found["paths"].train == (a, b)
    assert found["paths"].corpora == (WeightedManifest(a), WeightedManifest(b))


@pytest.mark.parametrize("name", LISTS)
def test_what_is_stored_reads_back_equal(name: str, tmp_path: Path) -> None:
    config = load_config(written(tmp_path, LISTS[name]))
    assert from_dict(to_dict(config)) == config
    (tmp_path / "stored.toml").write_text(to_toml(config))
    assert load_config(tmp_path / "stored.toml") == config


def test_paths_alone_are_stored_as_they_were(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, LISTS["paths"]))
    assert to_dict(config)["data"]["train"] == [str(tmp_path / "a.gz"), str(tmp_path / "b.gz")]
    assert f'train = ["{tmp_path}/a.gz", "{tmp_path}/b.gz"]' in to_toml(config)


def test_the_command_line_takes_tables_beside_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["x y.gz", '{path = "b, c.gz", weight = 3}', "d.gz,e.gz", "7"]
    assert load_config(None, ["--data.train", *words]).data.train == (
        tmp_path / "x y.gz",
        WeightedManifest(tmp_path / "b, c.gz", 3.0),
        tmp_path / "d.gz",
        tmp_path / "e.gz",
        tmp_path / "7",
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{path = "b.gz", weight = 0}', r"^data\.train: weight 0 of .*b\.gz: .* above 0"),
        ('{path = "b.gz", weight = -2.5}', r"^data\.train: weight -2\.5 of .*b\.gz: .* above 0"),
        ('{path = "b.gz", weight = inf}', r"^data\.train: weight inf of .*b\.gz: .* above 0"),
        ('{path = "b.gz", weight = nan}', r"train: weight must be number, got nan"),
        ('{path = "b.gz", weight = "3"}', r"train: weight must be number, got '3'"),
        ('{path = "b.gz", weight = true}', r"train: weight must be number, got True"),
        ('{path = "b.gz", wieght = 3}', r"train: unknown key 'wieght'; did you mean weight\?"),
        ("{weight = 3}", r"train: \{weight = 3\} has no path"),
        ('["b.gz", 3]', r"train must be path or \{path, weight\}, got \['b\.gz', 3\]"),
        ("3", r"train must be path or \{path, weight\}, got 3"),
        ('{path = "../here/a.gz", weight = 2}', r"^data\.train: .*a\.gz is there more than once"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_one_clear_line(
    entry: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    path = written(tmp_path / "here", f'train = ["a.gz", {entry}]\n')
    with pytest.raises(ValueError, match=message) as raised:
        load_config(path)
    assert "\n" not in str(raised.value)


def test_a_table_that_is_no_toml_is_shown_how_to_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--data\.train: \{path=b\}: .*quoted: '\{path = \"b"):
        load_config(None, ["--data.train", "{path=b}"])


def test_only_training_takes_weights(tmp_path: Path) -> None:
    path = written(tmp_path, 'valid = [{path = "b.gz", weight = 3}]\n')
    with pytest.raises(ValueError, match="valid must be path, got"):
        load_config(path)


def test_a_list_of_paths_may_still_have_one_twice(tmp_path: Path) -> None:
    assert len(load_config(written(tmp_path, 'train = ["a.gz", "a.gz"]\n')).data.corpora) == 2
