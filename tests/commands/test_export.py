"""Exporting as a user does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from commands.calling import Caller, script
from tiny_run import tiny_run, write_cuts

from zipformer.checkpoint.files import save, sha256
from zipformer.config.toml import to_dict


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a run with a test set."""
    folder = tmp_path_factory.mktemp("exp") / "tiny"
    folder.mkdir()
    loaded = tiny_run(folder, test={"noise": write_cuts(folder, "noise", ["one two", "three"])})
    content = {
        "model": loaded.model.state_dict(),
        "state": {"step": 7, "audio_seconds": 70.0},
        "config": to_dict(loaded.config),
        "files": {"bpe.model": sha256(folder / "bpe.model")},
        "label": "epoch1-avg1",
    }
    save(loaded.path, content)
    return loaded.path


@pytest.mark.slow
def test_it_writes_checks_and_scores_all_that_is_asked_for(
    checkpoint: Path, tmp_path: Path
) -> None:
    sizes = ("--chunk", 32, "--left", 128, "--right", 32)
    done = script("export", checkpoint, *sizes, "--int8", "--offline", cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert done.stdout.count("same tokens in 2 of 2") == 2
    for files, count in (("PyTorch", 2), ("ONNX", 4), ("ONNX with 8-bit weights", 2)):
        assert done.stdout.count(f"WER in {files} ") == count, files
    folder = checkpoint.parent / "export" / "epoch1-avg1-32-128-32"
    names = {f"{n}{s}.onnx" for n in ("encoder", "decoder", "joiner") for s in ("", ".int8")}
    names |= {"tokens.txt", "bpe.vocab", "README.txt"}
    assert {path.name for path in folder.iterdir()} == names | {"offline"}
    assert {path.name for path in (folder / "offline").iterdir()} == names
    text = (folder / "README.txt").read_text()
    assert "epoch1-avg1 of tiny" in text and "Checked" in text and "WER in ONNX" in text
    assert str(tmp_path) not in text


@pytest.mark.slow
def test_without_test_audio_it_says_that_it_compared_noise(
    call: Caller, checkpoint: Path, tmp_path: Path
) -> None:
    away = tmp_path / "elsewhere"
    away.mkdir()
    content = torch.load(checkpoint, weights_only=True)
    content["config"]["data"]["test"] = {"clean": str(away / "not_here.jsonl.gz")}
    save(away / "model.pt", content)
    (away / "bpe.model").write_bytes((checkpoint.parent / "bpe.model").read_bytes())
    asked = (away / "model.pt", "--chunk", 32, "--left", 128)
    done = call("export", *asked, "--out", "o", cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "on noise, as there is no test audio at hand" in done.stdout
    assert "WER" not in done.stdout and (tmp_path / "o" / "encoder.onnx").is_file()
    missing = call("export", *asked, "--sets", "a=b.jsonl.gz", cwd=tmp_path)
    assert missing.status == 1 and "b.jsonl.gz not found" in missing.stderr


def test_without_onnx_it_names_the_extra_in_one_line(
    call: Caller, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = call("export", checkpoint, "--chunk", 32, "--left", 128, "--out", ".", cwd=tmp_path)
    assert done.status == 1 and done.stderr.startswith("error: export to ONNX needs the package")
    assert "pip install -e '.[export]'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_what_cannot_be_is_one_line(call: Caller, checkpoint: Path, tmp_path: Path) -> None:
    done = call("export", checkpoint, cwd=tmp_path)
    assert done.status == 1 and "Traceback" not in done.stderr
    assert "the full context cannot stream" in done.stderr and "--offline" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_checkpoint_is_written_without_what_training_needs(
    call: Caller, checkpoint: Path, tmp_path: Path
) -> None:
    done = call("export", checkpoint, "--format", "checkpoint", "--out", "small", cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert done.stdout.strip() == "small/model.pt" and (tmp_path / "small/bpe.model").is_file()
