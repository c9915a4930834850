"""Which corpus a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.lib.corpus_layouts import LAYOUTS, corpus_folder

PLACES = {  # what tells each corpus
    "aishell": "data_aishell",
    "wenetspeech": "WenetSpeech.json",
    "gigaspeech": "GigaSpeech.json",
    "csj": "MORPH/SDB",
    "tedlium": "legacy/train/stm",
    "commonvoice": "cy/train.tsv",
    "librispeech": "train-clean-100",
}


def make(folder: Path, recipe: str) -> Path:
    (folder / PLACES[recipe]).mkdir(parents=True)
    return folder


def test_every_layout_is_tested() -> None:
    assert PLACES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("recipe", PLACES)
def test_the_top_folder_is_found_from_the_one_above_and_the_one_below(
    recipe: str, tmp_path: Path
) -> None:
    top = make(tmp_path / "disk" / "corpus", recipe)
    for given in (top, top.parent, top / PLACES[recipe].split("/")[0]):
        if given.is_dir():
            assert corpus_folder(given, recipe) == top


@pytest.mark.parametrize("recipe", PLACES)
def test_another_corpus_is_called_by_its_name(recipe: str, tmp_path: Path) -> None:
    other = "csj" if recipe != "csj" else "tedlium"
    make(tmp_path, other)
    with pytest.raises(FileNotFoundError, match=rf"looks like .*\(recipes/{other}\)"):
        corpus_folder(tmp_path, recipe)


def test_two_releases_in_a_folder_are_one_too_many(tmp_path: Path) -> None:
    for release in ("cv-corpus-7", "cv-corpus-8"):
        make(tmp_path / release, "commonvoice")
    with pytest.raises(ValueError, match=r"more than once: give one of cv-corpus-7, cv-corpus-8"):
        corpus_folder(tmp_path, "commonvoice")


def test_nothing_and_no_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is nothing in it"):
        corpus_folder(tmp_path, "aishell")
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        corpus_folder(tmp_path / "none", "aishell")
