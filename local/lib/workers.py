"""Worker processes of the preparation, which end when it is interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children


@contextmanager
def worker_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes. An error, or a Ctrl-C, ends them with what they are doing.

    The terminal sends a Ctrl-C to all processes: the workers leave it to the main one, which would
    else print one traceback for each of them, and then wait for all that is still to be done.
    """
    before = set(active_children())
    pool = ProcessPoolExecutor(count, initializer=_leave_interrupts)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(active_children()) - before:
            process.terminate()
        raise
    else:
        pool.shutdown()


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
