"""What choosing an epoch has tried, and what it picked: the content of ``selection.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import NotRequired, TypedDict

import torch

from zipformer.checkpoint.provenance import git_commit
from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.files import write_text
from zipformer.tokens.scoring import RATES

SELECTION = "selection.json"


@dataclass(frozen=True)
class Candidate:
    """One epoch and average, and its errors on the validation sets.

    Args:
        epoch: Takes ``epoch-N.pt``.
        avg: Epochs averaged over.
        errors: Word errors of all kinds.
        words: Reference words.
        references: Fingerprint of what was said in the sets.
        checkpoints: Size and time of its files, by name.
        git_commit: Of the code that decoded.
        unit: What was counted as words; see ``zipformer.tokens.scoring.RATES``.
        by_set: The error rate of each of several sets in percent, by its name.
    """

    epoch: int
    avg: int
    errors: int
    words: int
    references: str
    checkpoints: dict[str, list[int]]
    git_commit: str | None
    unit: str = "word"
    by_set: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> str:
        """The error rate with its name, and those of several sets."""
        of_sets = ", ".join(f"{name} {rate:.2f}" for name, rate in self.by_set.items())
        which = f" ({of_sets})" if of_sets else ""
        return f"{RATES[self.unit]} {self.wer:.2f} % on the validation sets{which}"

    @property
    def wer(self) -> float:
        """In percent."""
        return 100.0 * self.errors / self.words


class Question(TypedDict):
    """How candidates were decoded; answers to another question do not count."""

    sets: dict[str, list[int]]  # validation sets, and what changes when one is replaced
    cuts: int  # the first ones of each set; 0 = all
    context: str
    right_mode: str
    method: NotRequired[str]  # older versions knew one
    use_averaged_model: bool


@dataclass(frozen=True)
class Selection:
    """What was picked.

    Args:
        question: How candidates were decoded.
        candidates: All that were tried.
        left_out: Those that could not be, and why.
    """

    question: Question
    candidates: list[Candidate]
    left_out: dict[str, str]

    @property
    def picked(self) -> Candidate:
        """The fewest errors; of equal ones the later epoch, then the larger average."""
        return min(self.candidates, key=lambda c: (c.wer, -c.epoch, -c.avg))

    @property
    def why(self) -> str:
        """The reason, in words."""
        asked, best = self.question, self.picked
        sets = ", ".join(Path(name).name for name in asked["sets"])
        part = f" (the first {asked['cuts']} cuts of each)" if asked["cuts"] else ""
        return (
            f"epoch {best.epoch}, avg {best.avg} has the lowest {RATES[best.unit]}, "
            f"{best.wer:.2f} %, of {len(self.candidates)} candidates on the validation sets "
            f"{sets}{part} at context {asked['context']}, {asked.get('method', 'greedy')}, windowed"
        )

    def table(self) -> Table:
        """Error rates by epoch and average, a star at the one picked."""
        averages, rate = sorted({c.avg for c in self.candidates}), RATES[self.picked.unit]
        cells = {(c.epoch, c.avg): f"{c.wer:.2f}" for c in self.candidates}
        cells[self.picked.epoch, self.picked.avg] = f"* {self.picked.wer:.2f}"
        rows = [
            [str(epoch), *(cells.get((epoch, avg), NO_RESULT) for avg in averages)]
            for epoch in sorted({c.epoch for c in self.candidates})
        ]
        return Table(["epoch", *(f"avg {avg}: {rate} %" for avg in averages)], rows)


def read_selection(path: Path) -> Selection | None:
    """What a ``selection.json`` holds; None if there is none, or it cannot be read."""
    names = {known.name for known in fields(Candidate)}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        candidates = [
            Candidate(**{name: value for name, value in c.items() if name in names})
            for c in content["candidates"]
        ]
        return Selection(content["question"], candidates, content["left_out"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_selection(path: Path, selection: Selection, complete: bool) -> None:
    """Writes a ``selection.json``; ``complete`` is false as long as candidates are left to try."""
    path.parent.mkdir(parents=True, exist_ok=True)
    best = selection.picked
    content = {
        "picked": {"epoch": best.epoch, "avg": best.avg, "wer": round(best.wer, 4)},
        "why": selection.why,
        "complete": complete,  # false if someone stopped it: what was tried counts next time
        "question": selection.question,
        "candidates": [asdict(c) | {"wer": round(c.wer, 4)} for c in selection.candidates],
        "left_out": selection.left_out,
        "git_commit": git_commit(),
        "torch_version": str(torch.__version__),
    }
    write_text(path, json.dumps(content, indent=2))
