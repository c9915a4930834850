"""Writing files and folders whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to, and renames it at the end.

    Whoever is killed on the way leaves an older ``path``, or none, but never half a file. If the
    block raises, what it has written is removed and ``path`` stays as it was.

    Args:
        path: The file that is to appear; its folder must exist.
        durable: Whether the bytes must have reached the disk before the old file goes.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        yield temporary
        if durable:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())  # raises where the disk cannot keep what was written
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside ``path`` to write to, which takes its place at the end.

    If the block raises, what it has written is removed and ``path`` stays as it was.

    Args:
        path: The folder that is to appear; those above it are made.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process killed while writing
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, its last line ended."""
    with replacing(path) as temporary:
        temporary.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")


def check_writable(folder: Path, advice: str) -> None:
    """Makes a folder, and refuses one that nothing can be written to, before work is lost.

    Args:
        folder: Where results are to go.
        advice: The end of the message: what to do.

    Raises:
        PermissionError: Naming it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"nothing can be written to {folder} ({error.strerror}): {advice}"
        ) from None


def _sync_folder(folder: Path) -> None:
    """Makes a rename survive a power cut; not every file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
