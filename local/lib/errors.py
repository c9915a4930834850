"""What a preparation command says when something is wrong: one line instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from local.lib.disk_space import GIGABYTE, free_bytes, is_disk_full
from zipformer.commands import errors


@contextmanager
def one_line_errors(folder: Path) -> Iterator[None]:
    """Ends the program with ``error: ...`` and exit status 1, as the other commands do.

    Beyond what these catch, a full disk and a worker process that was killed are errors that a user
    can do something about.

    Args:
        folder: Where the command writes; named when its disk is full.
    """
    with errors.one_line_errors():
        try:
            yield
        except BrokenProcessPool:
            raise ValueError(
                "a worker process was killed, most likely because memory ran out: run the same "
                "command with fewer --num-jobs; what is finished is kept"
            ) from None
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise ValueError(
                f"cannot write more to {error.filename or folder} "
                f"({error.strerror or 'No space left on device'}; "
                f"{free_bytes(folder) / GIGABYTE:.1f} GB are free there): make room or choose "
                "another --data-dir, and run the same command again; what is finished is kept"
            ) from None
