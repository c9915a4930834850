"""What preparation leaves out: named, counted, and an error if it is too much."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zipformer.files import write_text

SHOWN = 5  # names in a message
ALWAYS_ALLOWED = 10  # utterances: in a small corpus a handful is a large share


@dataclass(frozen=True)
class Skipped:
    """Something that is left out.

    Args:
        name: Of the cut or utterance.
        source: Its file, with a line number where there is one.
        reason: Why; the same words for the same kind of fault, so that they can be counted.
        detail: What is known besides.
    """

    name: str
    source: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"

    @property
    def where(self) -> str:
        """Name, source and detail."""
        detail = f", {self.detail}" if self.detail else ""
        return f"{self.name} ({self.source}{detail})"


class Unusable(Exception):
    """Something has to be left out.

    Args:
        reason: Why, in the words of ``Skipped.reason``.
        detail: What is known besides.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def listing(skipped: Sequence[Skipped]) -> str:
    """The first few of them on one line."""
    return _first(list(map(str, skipped)))


def _first(names: list[str]) -> str:
    return "; ".join(names[:SHOWN] + ["..."] * (len(names) > SHOWN))


def summary(skipped: Sequence[Skipped]) -> list[str]:
    """A line per reason with its count and the first few names."""
    lines = []
    for reason, count in Counter(s.reason for s in skipped).most_common():
        those = _first([s.where for s in skipped if s.reason == reason])
        lines.append(f"left out {count}: {reason}: {those}")
    return lines


def check_share(what: str, skipped: Sequence[Skipped], total: int, max_share: float) -> None:
    """Refuses a corpus that is mostly broken, or not what it should be.

    Up to ``max_share`` of ``total`` or ``ALWAYS_ALLOWED``, whichever is more, may be left out, but
    never more than half.

    Raises:
        ValueError: With counts, reasons and names.
    """
    allowed = min(max(ALWAYS_ALLOWED, max_share * total), total / 2)
    if len(skipped) <= allowed:
        return
    reasons = "\n  ".join(summary(skipped))
    raise ValueError(
        f"{what}: {len(skipped)} of {total} utterances cannot be used, more than --max-bad-share "
        f"{max_share} allows:\n  {reasons}"
    )


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> None:
    """Writes a TSV of name, source, reason and detail; no file if there is nothing to list."""
    lines = [
        "\t".join(re.sub(r"[\t\r\n]", " ", field) for field in fields) + "\n"
        for fields in ((s.name, s.source, s.reason, s.detail) for s in skipped)
    ]
    if lines:
        write_text(path, "".join(lines))
    else:
        path.unlink(missing_ok=True)


def read_skipped(path: Path) -> list[Skipped]:
    """What ``write_skipped`` wrote; nothing if there is no such file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [Skipped(*line.split("\t")) for line in lines if line]


def skipped_beside(manifest: Path) -> Path:
    """Where the list of what a cuts manifest lacks is kept."""
    return manifest.with_name(f"{manifest.name.removesuffix('.jsonl.gz')}.skipped.tsv")
