"""Whether there is room on the disk: asked before long work, and seen when a write fails."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

NO_MORE_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
GIGABYTE = 1e9


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
