"""One training in a folder at a time: two would mix their checkpoints and metrics."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".training"
# What a file system says that knows no locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def only_training_in(exp_dir: Path, is_main: bool) -> Iterator[None]:
    """Holds the folder for this run; the system lets go of it when the process ends, however.

    Where the file system, or the system, knows no locks nothing is held.

    Args:
        exp_dir: The run's folder.
        is_main: Whether this is the process of the run that holds it for all of them.

    Raises:
        ValueError: If another training holds the folder, naming its process.
    """
    try:
        import fcntl
    except ImportError:  # not a Unix
        is_main = False
    if not is_main:
        yield
        return
    with open(exp_dir / LOCK, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"another training runs in {exp_dir} ({file.read().strip() or 'unknown process'}): "
                "wait for its end, or choose another train.exp_dir"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
