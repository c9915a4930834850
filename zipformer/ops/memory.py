"""How the C library hands out memory on a CPU."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h
_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Lets the process keep large blocks that it frees, instead of asking the kernel anew.

    Every step of training allocates the same large tensors again; without this the kernel maps
    and clears their pages each time, which costs a sixth of a step of a small model on two cores.
    Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _BYTES)
        mallopt(_M_TRIM_THRESHOLD, -1)  # never
