"""Checkpoint files are whole, safe to read and strict."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zipformer.checkpoint import files as checkpoint

ROOT = Path(__file__).parents[2]
CONTENT: dict[str, Any] = {"model": {"w": torch.arange(3.0)}, "config": {}}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.pt", CONTENT | {"state": {"step": 3, "names": ["x", None, 1.5]}})
    content = checkpoint.load(tmp_path / "a.pt")
    assert torch.equal(content["model"]["w"], torch.arange(3.0))
    assert content["state"] == {"step": 3, "names": ["x", None, 1.5]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_failure_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, CONTENT)
    before = path.read_bytes()

    def half(content: object, file: Any) -> None:
        file.write(before[: len(before) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space left") as raised:
        checkpoint.save(path, {"model": {}, "config": {}})
    assert "a.pt" in raised.value.__notes__[0]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_file_is_replaced_not_rewritten(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "epoch-1.pt", CONTENT)
    os.link(tmp_path / "epoch-1.pt", tmp_path / "best-valid.pt")
    before = (tmp_path / "best-valid.pt").read_bytes()
    checkpoint.save(tmp_path / "epoch-1.pt", CONTENT | {"model": {"w": torch.zeros(3)}})
    assert (tmp_path / "best-valid.pt").read_bytes() == before


def test_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-1.pt"
    checkpoint.save(path, CONTENT | {"state": {"step": 1}})
    before = path.read_bytes()
    code = (
        "import os, sys, torch; from pathlib import Path\n"
        "from zipformer.checkpoint import files as checkpoint\n"
        "def half(content, file):\n"
        "    file.write(b'PK half a file'); file.flush(); os.kill(os.getpid(), 9)\n"
        "torch.save = half\n"
        "checkpoint.save(Path(sys.argv[1]), {'model': {}, 'config': {}})"
    )
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "checkpoint-1.pt.tmp").exists()
    assert path.read_bytes() == before
    assert checkpoint.newest(tmp_path) == path  # what was left over is not taken for one


def test_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"model": {}, "config": Trap()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="a.pt is refused.*run code"):
        checkpoint.load(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(ValueError, match="b.pt is refused.*run code"):
        checkpoint.load(tmp_path / "b.pt")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_damaged_file_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, CONTENT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"a\.pt is .*damaged"):
        checkpoint.load(path)


def test_missing_file_lists_those_that_exist(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "epoch-3.pt", CONTENT)
    with pytest.raises(FileNotFoundError, match=r"epoch-9.pt does not exist.*epoch-3.pt"):
        checkpoint.load(tmp_path / "epoch-9.pt")


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.pt", {"weights": {}})
    with pytest.raises(ValueError, match="not a checkpoint of a training run"):
        checkpoint.load(tmp_path / "a.pt")


def test_weights_of_another_architecture_are_listed() -> None:
    weights = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).state_dict()
    other = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(3), nn.Linear(3, 1))
    with pytest.raises(ValueError) as raised:
        checkpoint.load_weights(other, weights, "epoch-1.pt")
    message = str(raised.value)
    assert "epoch-1.pt is a checkpoint of another architecture; 6 parameters differ" in message
    assert "0.weight: (3, 2) in the checkpoint, (4, 2) in the model" in message
    assert "2.weight: missing in the checkpoint" in message
    with pytest.raises(ValueError, match=r"1.weight: only in the checkpoint"):
        checkpoint.load_weights(nn.Sequential(nn.Linear(2, 3)), weights, "epoch-1.pt")


@pytest.mark.parametrize(
    ("epoch_step", "expected"), [(6, "checkpoint-10.pt"), (10, "epoch-2.pt"), (14, "epoch-2.pt")]
)
def test_newest_is_the_one_of_most_steps(tmp_path: Path, epoch_step: int, expected: str) -> None:
    assert checkpoint.newest(tmp_path) is None
    for name, step in {"checkpoint-9": 9, "checkpoint-10": 10, "epoch-1": 5}.items():
        checkpoint.save(tmp_path / f"{name}.pt", CONTENT | {"state": {"step": step}})
    checkpoint.save(tmp_path / "epoch-2.pt", CONTENT | {"state": {"step": epoch_step}})
    (tmp_path / "best-valid.pt").touch()
    newest = checkpoint.newest(tmp_path)
    assert newest is not None and newest.name == expected
