"""What the checks have found, as Markdown to paste and as JSON to read."""

from __future__ import annotations

import json
from collections.abc import Sequence

from zipformer.diagnosis.catalogue import SPEED, VERSIONS
from zipformer.diagnosis.check import Outcome
from zipformer.evaluation.table import Table, to_markdown


def line_of(outcome: Outcome, passed: float) -> str:
    """A line for the terminal, with the seconds since the start."""
    took = f"{outcome.seconds:5.1f} s"
    return f"{passed:4.0f} s  {outcome.state:7}  {took}  {outcome.name}: {outcome.note}"


def to_json(outcomes: Sequence[Outcome]) -> str:
    """One line: whether each check passed (``ok``) or did not run (``skipped``), and its note."""
    checks = [{"name": o.name, "ok": o.ok, "skipped": o.skipped, "note": o.note} for o in outcomes]
    return json.dumps({"checks": checks})


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Versions, checks, times, and the details of what failed."""
    parts = ["### zipformer check-gpu", _summary(outcomes)]
    for outcome in outcomes:
        if outcome.name == VERSIONS and outcome.facts:
            rows = [[name, value] for name, value in outcome.facts.items()]
            parts.append(to_markdown(Table(["what", "version"], rows)))
    rows = [[o.name, o.state, f"{o.seconds:.1f}", _one_line(o.note)] for o in outcomes]
    parts.append(to_markdown(Table(["check", "result", "seconds", "note"], rows)))
    timed = [o.facts for o in outcomes if o.name.startswith(SPEED) and o.facts]
    if timed:
        parts.append(to_markdown(Table(list(timed[0]), [list(facts.values()) for facts in timed])))
        parts.append(EXPLANATION)
    for outcome in outcomes:
        if outcome.failed and outcome.details:
            parts.append(f"{outcome.name}:\n\n```\n{outcome.details.strip()}\n```")
    return "\n\n".join(parts) + "\n"


EXPLANATION = (
    "`step` is a whole training step, random features, contexts from the default menus; `host` is "
    "the time until forward and backward pass have been asked for, `device` until they are done. "
    "`epoch`: LibriSpeech, 960 h with copies at 0.9 and 1.1 times the speed (2,902 h), without "
    "loading and validation. `published`: icefall's RESULTS.md, float16, not causal, loading "
    "included."
)


def _summary(outcomes: Sequence[Outcome]) -> str:
    passed, skipped = sum(o.ok for o in outcomes), sum(o.skipped for o in outcomes)
    failed = [o.name for o in outcomes if o.failed]
    names = f": {', '.join(failed)}" if failed else ""
    return f"{passed} passed, {skipped} skipped, {len(failed)} failed{names}."


def _one_line(text: str) -> str:
    return " ".join(text.split())
