"""Faults that a user can mend, told in one line instead of a traceback."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

NO_MORE_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
GIGABYTE = 1e9


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turns errors of data, paths and disk space into ``error: ...`` and exit status 1.

    Args:
        folder: Where the command writes; named when its disk is full.
    """
    try:
        yield
    except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise SystemExit(f"error: {error}") from None
    except BrokenProcessPool:
        raise SystemExit(
            "error: a worker process was killed, most likely because memory ran out: run the same "
            "command with fewer --num-jobs; what is finished is kept"
        ) from None
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise SystemExit(
            f"error: cannot write more to {error.filename or folder} "
            f"({error.strerror or 'No space left on device'}; {free_bytes(folder) / GIGABYTE:.1f} "
            "GB are free there): make room or choose another --data-dir, and run the same command "
            "again; what is finished is kept"
        ) from None


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed for want of room; numpy does not set the number of the error."""
    return error.errno in NO_MORE_ROOM or "requested and" in str(error)


def free_bytes(folder: Path) -> int:
    """Free space on the disk of a folder that need not exist yet."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(folder: Path, needed: float, what: str, advice: str) -> None:
    """Refuses to begin what cannot be finished.

    Args:
        folder: Where it goes.
        needed: Bytes.
        what: What takes them.
        advice: What takes less.

    Raises:
        ValueError: If the disk has not so much free space.
    """
    free = free_bytes(folder)
    if needed > free:
        raise ValueError(
            f"{what} takes about {needed / GIGABYTE:.1f} GB, but only {free / GIGABYTE:.1f} GB "
            f"are free on the disk of {folder}: {advice}"
        )
