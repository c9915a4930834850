"""What others wrote is read as data: objects become placeholders, calls are refused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from zipformer.released.reading import read_published


@dataclass
class Params:
    """An object of a library that a training stored."""

    sampler: str = "bucketing"


class Harmful:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.target}",)


class Call:
    """A function of a library that exists, harmless or not."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.path.join, ("a", "b")


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_are_left_out_and_named(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "epoch-3.pt"
    content = {
        "model": {"w": torch.ones(2)},
        "params": Params(),
        "exp_dir": Path("/exp"),
        "encoder_dim": "1,2",
        "nested": {"sampler": Params()},
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    file = read_published(path)
    assert [name.rpartition(".")[2] for name in file.placeholders] == ["Params"]
    assert torch.equal(file.weights["w"], torch.ones(2))
    assert file.settings == {"encoder_dim": "1,2"}
    assert not isinstance(file.content["params"], Params)
    assert not vars(file.content["params"])


@pytest.mark.parametrize("zipped", [True, False])
def test_calls_are_refused_by_name_and_never_made(tmp_path: Path, zipped: bool) -> None:
    path, trace = tmp_path / "epoch-3.pt", tmp_path / "trace"
    for harm, name in ((Harmful(trace), r"posix\.system"), (Call(), r"posixpath\.join")):
        content = {"model": {"w": torch.ones(2)}, "params": Params(), "more": harm}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=rf"epoch-3\.pt is refused: it names {name},"):
            read_published(path)
    assert not trace.exists()


def test_programs_are_refused_with_what_to_take_instead(tmp_path: Path) -> None:
    path = tmp_path / "jit_script.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(
        ValueError, match=r"jit_script\.pt is a TorchScript program.*pretrained\.pt"
    ):
        read_published(path)


def test_a_file_that_git_has_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "pretrained.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ValueError, match=r"pretrained\.pt is what git leaves.*git lfs pull"):
        read_published(path)


def test_half_a_download(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model": {"w": torch.ones(2000)}}, path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"model\.pt is damaged"):
        read_published(path)
