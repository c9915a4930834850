"""Where the CPU waits for a CUDA device, on purpose.

A GPU works through a queue, and is fast while the queue is not empty. Whoever asks for a number
waits until all before it is done, and the GPU then idles until the queue fills again. A training
step does so in a few places, which are marked with ``expected``; anywhere else it is a mistake::

    torch.cuda.set_sync_debug_mode("error")  # raises at a wait that is not marked
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def expected() -> Iterator[None]:
    """Lets what is inside wait, whatever torch's ``sync_debug_mode`` says."""
    mode = torch.cuda.get_sync_debug_mode() if torch.cuda.is_initialized() else 0
    if not mode:
        yield
        return
    torch.cuda.set_sync_debug_mode("default")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)
