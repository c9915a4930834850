"""What is written appears whole, or what was there before stays."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from zipformer.files import replacing, replacing_folder, write_text


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path, durable=True) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old\n"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_the_disk_cannot_keep_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.txt"
    write_text(path, "old")
    monkeypatch.setattr("zipformer.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"), replacing(path, durable=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "folder"
    for name in ("old", "new"):
        with replacing_folder(folder) as temporary:
            write_text(temporary / name, name)
            assert [p.name for p in folder.glob("*")] == ([] if name == "old" else ["old"])
    assert [p.name for p in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with replacing_folder(folder) as temporary:
        write_text(temporary / "old", "old")
    with pytest.raises(RuntimeError), replacing_folder(folder) as temporary:
        write_text(temporary / "half", "half")
        raise RuntimeError
    assert [p.name for p in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_process_left_is_not_taken_up(tmp_path: Path) -> None:
    left = tmp_path / "folder.tmp"
    left.mkdir()
    write_text(left / "half", "half")
    with replacing_folder(tmp_path / "folder") as temporary:
        assert list(temporary.iterdir()) == []
