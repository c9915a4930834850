"""What a person sees: log lines on the terminal and in ``log.txt``, and a bar on a terminal."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(message)s"
CLEAR_LINE = "\r\x1b[K"


class Console(logging.StreamHandler):
    """Log lines on stderr, above a progress bar if stderr is a terminal."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
        self.is_terminal = sys.stderr.isatty()
        self._next_update = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one log line in the place of the bar."""
        self.clear()
        super().emit(record)

    def bar(self, done: float, text: str) -> None:
        """Draws the bar, a few times per second at most; nothing on what is not a terminal."""
        now = time.monotonic()
        if not self.is_terminal or now < self._next_update:
            return
        self._next_update = now + 0.2
        line = f"{draw_bar(done)} {text}"[: shutil.get_terminal_size().columns - 1]
        self.stream.write(CLEAR_LINE + line)
        self.stream.flush()

    def clear(self) -> None:
        """Takes the bar away."""
        if self.is_terminal:
            self.stream.write(CLEAR_LINE)


def draw_bar(done: float, width: int = 24) -> str:
    """A bar of ``width`` characters, the share ``done`` of it filled.

    Example:
        >>> draw_bar(0.5, width=4)
        '[##..]  50 %'
    """
    filled = int(done * width)
    return f"[{'#' * filled}{'.' * (width - filled)}] {100 * done:3.0f} %"


def format_duration(seconds: float) -> str:
    """Seconds as ``h:mm:ss``, or ``?`` if unknown.

    Example:
        >>> format_duration(3725)
        '1:02:05'
    """
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def log_name(rank: int) -> str:
    """The file in a run's folder that a process writes."""
    return f"log-{rank}.txt" if rank else "log.txt"


@contextmanager
def logging_to(exp_dir: Path, rank: int = 0) -> Iterator[Console]:
    """Sends everything that the package logs to the terminal and to ``exp_dir/log.txt``.

    Of several processes only the first writes there; the others write warnings to
    ``log-RANK.txt``.
    """
    package = logging.getLogger("zipformer")
    console = Console()
    file = logging.FileHandler(exp_dir / log_name(rank), encoding="utf-8", delay=rank > 0)
    file.setFormatter(logging.Formatter(FORMAT))
    handlers: list[logging.Handler] = [file] if rank else [console, file]
    level = package.level
    package.setLevel(logging.WARNING if rank else logging.INFO)
    for handler in handlers:
        package.addHandler(handler)
    try:
        yield console
    except Exception as error:  # for those who look at log.txt only
        # Python prints where the first process was; of the others this file alone says it.
        package.error("ended by %s: %s", type(error).__name__, error, exc_info=rank > 0)
        raise
    finally:
        console.clear()
        for handler in handlers:
            package.removeHandler(handler)
        file.close()
        package.setLevel(level)
