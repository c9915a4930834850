"""What a user can mend is one line; everything else keeps its traceback."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from zipformer.commands.errors import one_line_errors


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        FileNotFoundError("bad"),
        NotADirectoryError("bad"),
        PermissionError("bad"),
        MemoryError("bad"),
        ImportError("bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_a_user_can_mend_are_one_line(error: Exception) -> None:
    with pytest.raises(SystemExit, match="^error: bad$"), one_line_errors():
        raise error


def test_an_error_without_words_is_named() -> None:
    with pytest.raises(SystemExit, match="^error: MemoryError$"), one_line_errors():
        raise MemoryError


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError), one_line_errors():
        raise RuntimeError("a bug")


def test_a_command_can_name_errors_of_its_own() -> None:
    with pytest.raises(SystemExit, match="^error: bad$"), one_line_errors(RuntimeError):
        raise RuntimeError("bad")


@pytest.mark.parametrize("module", ["zipformer.no_such_module", "no_such_package"])
def test_a_broken_import_of_ours_keeps_its_traceback(module: str) -> None:
    with pytest.raises(ModuleNotFoundError), one_line_errors():
        importlib.import_module(module)


def test_a_reader_that_has_enough_ends_a_program_quietly() -> None:
    code = (
        "from zipformer.commands.errors import one_line_errors\n"
        "with one_line_errors():\n"
        "    for i in range(100_000): print(i)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stderr
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_another_broken_pipe_is_no_quiet_matter() -> None:
    with pytest.raises(BrokenPipeError), one_line_errors():
        raise BrokenPipeError
