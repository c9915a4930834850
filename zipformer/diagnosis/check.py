"""What a check is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


class Skip(Exception):
    """Raised by a check that cannot be done here; says why."""


@dataclass(frozen=True)
class Setting:
    """What all checks are told.

    Args:
        device: ``cpu`` or ``cuda``.
        folder: For files that checks write.
    """

    device: str
    folder: Path

    def subfolder(self, name: str) -> Path:
        """A folder for the files of one check, made if need be."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Found:
    """What a check that passed has to say.

    Args:
        note: One line.
        facts: Cells of a table, by the heads of their columns.
    """

    note: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """Something to try out.

    Args:
        name: Unique.
        work: Returns what it found; raises ``Skip``, or anything else if the check fails. It can be
            pickled, since it runs in another process.
        seconds: After which it has failed.
        why_cuda: Why there is nothing to check without a CUDA device; empty if there is.
    """

    name: str
    work: Callable[[Setting], Found]
    seconds: float
    why_cuda: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a check.

    Args:
        name: Of the check.
        ok: It ran and passed.
        skipped: It did not run, for the reason in ``note``.
        note: What it found, why it was skipped, or what went wrong.
        seconds: That it took.
        facts: See ``Found``.
        details: The traceback of a failed one, or the last that its process printed.
    """

    name: str
    ok: bool
    skipped: bool
    note: str
    seconds: float = 0.0
    facts: Mapping[str, str] = field(default_factory=dict)
    details: str = ""

    @property
    def failed(self) -> bool:
        """Whether something is wrong here."""
        return not (self.ok or self.skipped)

    @property
    def state(self) -> str:
        """In one word."""
        return "ok" if self.ok else "skipped" if self.skipped else "FAILED"

    @classmethod
    def of_skipped(cls, name: str, why: str) -> Outcome:
        """Of a check that did not run."""
        return cls(name, ok=False, skipped=True, note=why)
