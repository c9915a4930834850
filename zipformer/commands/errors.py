"""What a user sees of trouble: warnings as lines on stderr, mistakes as one line of error."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MENDABLE = (ValueError, FileNotFoundError, NotADirectoryError, PermissionError, MemoryError)

INTERRUPTED = 128 + 2  # as shells tell of a program that Ctrl-C has ended
READER_GONE = 128 + 13  # as shells tell of a program that wrote where nobody reads, as to head


@contextmanager
def one_line_errors(*more: type[Exception]) -> Iterator[None]:
    """Ends the program with ``error: ...`` and exit status 1 where a user can mend what is wrong.

    A traceback stays for everything else, which is a bug of ours. An ImportError is a missing extra
    if it is ours: those that Python raises itself carry the name of a module.

    Args:
        more: Errors of one command alone that its user can mend.
    """
    mendable: tuple[type[Exception], ...] = (*MENDABLE, *more)
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        raise SystemExit(READER_GONE) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except mendable as error:
        raise SystemExit(f"error: {str(error) or type(error).__name__}") from None
    except ImportError as error:
        if error.name is not None:
            raise
        raise SystemExit(f"error: {error}") from None


def _reader_is_gone() -> bool:
    """Whether nobody reads the output any more; what is still to be written is dropped then."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def show_warnings() -> None:
    """Sends warnings of the library to stderr, one line each."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
