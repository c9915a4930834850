"""Unpacks tar archives: files that are there already are kept, none is ever there in part."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from local.lib.disk_space import check_space
from zipformer.files import replacing, write_text
from zipformer.progress import Progress


def is_unpacked(folder: Path, md5: str) -> bool:
    """Whether the archive of this checksum was unpacked into ``folder``."""
    return _marker(folder, md5).is_file()


def unpack(archive: Path, folder: Path, md5: str) -> int:
    """Unpacks an archive; returns the number of files in it.

    Raises:
        ValueError: If it is no tar archive, holds anything but files and folders below
            ``folder``, or needs more room than there is.
    """
    count, size = 0, archive.stat().st_size
    folder.mkdir(parents=True, exist_ok=True)
    begun = folder / f".{md5}.unpacking"
    if not begun.exists():  # else some of it is there already
        check_space(folder, size, f"unpacking {archive}", "make room")
    begun.touch()
    with open(archive, "rb") as raw, Progress(f"unpacking {archive.name}", size, "B") as progress:
        for member, content in _members(archive, raw):
            _write(folder / member.name, member.size, content)
            count += 1
            progress.add(raw.tell() - progress.count)
    write_text(_marker(folder, md5), archive.name)
    begun.unlink()
    return count


def _marker(folder: Path, md5: str) -> Path:
    return folder / f".{md5}.unpacked"


def _members(archive: Path, raw: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The files in an archive, in their order."""
    try:
        with tarfile.open(fileobj=raw, mode="r|*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise ValueError(f"{archive}: refuses to write outside its folder: {path}")
                if member.isdir():
                    continue
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:
                    raise ValueError(f"{archive}: {path} is neither a file nor a folder")
                yield member, content
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive} cannot be unpacked ({error}): fetch it again") from None


def _write(path: Path, size: int, content: IO[bytes]) -> None:
    if path.is_file() and path.stat().st_size == size:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        shutil.copyfileobj(content, file)
