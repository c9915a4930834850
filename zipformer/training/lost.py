"""What a process does when another one of its run is gone."""

from __future__ import annotations

import logging
import os
import sys
import threading

logger = logging.getLogger(__name__)

# Seconds in which the main thread may leave by itself, with an error of its own, once another
# process is known to be gone. It cannot if it hangs in a collective, which nothing interrupts.
GRACE = 15.0


class ProcessLostError(RuntimeError):
    """Another process of the run is gone, and training cannot go on without it."""


def end_unless(left: threading.Event, why: str) -> None:
    """Ends this process at once, unless its main thread leaves within ``GRACE`` seconds.

    To be called by a thread of its own.

    Args:
        left: Set when the main thread is through with what needs the others.
        why: Who is gone, for the log.
    """
    if left.wait(GRACE):
        return
    logger.error("%s. This process hangs without it and ends", why)
    for handler in logging.getLogger("zipformer").handlers:
        handler.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
