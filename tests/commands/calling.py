"""Calls verbs as a user does, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from zipformer_cli import run_verb

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Done:
    """How a call ended, and what it printed."""

    status: int
    stdout: str
    stderr: str


class Caller:
    """Calls verbs in this process, which does not wait for PyTorch to be imported each time."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        self.monkeypatch = monkeypatch

    def __call__(self, verb: str, *arguments: object, cwd: Path) -> Done:
        """What ``scripts/VERB.py ARGUMENTS`` does in the folder ``cwd``."""
        self.capsys.readouterr()
        error = ""
        with self.monkeypatch.context() as patch:
            patch.chdir(cwd)
            try:
                run_verb(verb, [str(a) for a in arguments], f"{verb}.py")
                status = 0
            except SystemExit as ended:  # a text is printed, and the status is 1
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
                error = f"{ended.code}\n" if isinstance(ended.code, str) else ""
        printed = self.capsys.readouterr()
        return Done(status, printed.out, printed.err + error)


def script(verb: str, *arguments: object, cwd: Path) -> Done:
    """Runs ``scripts/VERB.py`` in a process of its own, in the folder ``cwd``."""
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"{verb}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=300,
    )
    return Done(done.returncode, done.stdout, done.stderr)
