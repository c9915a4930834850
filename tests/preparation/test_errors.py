"""local/lib/errors.py: what a user can do something about is one line."""

import errno
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from local.lib.errors import one_line_errors

FULL_DISK = OSError(errno.ENOSPC, "No space left on device", "/data/a")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("the table is empty"), "the table is empty"),
        (FileNotFoundError("no corpus"), "no corpus"),
        (BrokenProcessPool("died"), ".*memory ran out: run .* with fewer --num-jobs"),
        (
            FULL_DISK,
            r"cannot write more to /data/a \(No space left.* GB are free there\): make",
        ),
        (OSError("80 requested and 20 written"), "cannot write more to .*out .*No space left on"),
    ],
    ids=["value", "file", "killed worker", "full disk", "full disk as numpy says it"],
)
def test_it_is_named_with_what_to_do(tmp_path: Path, error: Exception, message: str) -> None:
    with pytest.raises(SystemExit, match=f"^error: {message}"), one_line_errors(tmp_path / "out"):
        raise error


@pytest.mark.parametrize("error", [KeyError("x"), OSError(errno.EIO, "Input/output error")])
def test_everything_else_keeps_its_traceback(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), one_line_errors(tmp_path):
        raise error
