"""Which figures of ``metrics.jsonl`` stand in which chart.

Every number of a record becomes a curve, also those that this module does not know by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from zipformer.report.chart import Curve, chart
from zipformer.report.markup import Markup
from zipformer.training.metrics import NOT_A_PART

Record = dict[str, Any]

# Where a run stands, rather than how it goes.
POSITION = frozenset("step epoch batch done eta_seconds audio_hours".split())
# Titles of charts by the first word of a figure's name, in the order of the page.
VALIDATION = {
    "wer": "Validation: word error rate in %",
    "loss": "Validation: loss per output frame",
}
TRAINING = {
    "parts": "Training: loss per output frame and its parts",
    "chunk": "Training: loss by chunk (frames of 10 ms)",
    "right": "Training: loss by right context (frames of 10 ms)",
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "clipped": "Share of steps with clipped gradients",
    "skipped": "Steps skipped so far",
    "balancer": "Balancer",
    "whiten": "Whiten",
    "hours_per_hour": "Hours of audio per hour",
    "memory_mb": "Peak memory in MB",
}
RATIOS = frozenset(("loss", "parts", "chunk", "right", "grad_norm"))  # more so than differences


def validation_charts(records: Sequence[Record]) -> list[Markup]:
    """Charts of the ``valid`` records."""
    return _charts(records, "valid", VALIDATION, _validation_group)


def training_charts(records: Sequence[Record]) -> list[Markup]:
    """Charts of the ``train`` records."""
    return _charts(records, "train", TRAINING, _training_group)


def curve(records: Sequence[Record], name: str) -> Curve:
    """One figure over the steps; None where a record has no number for it."""
    points = [(r["step"], r[name] if is_number(r[name]) else None) for r in records if name in r]
    return Curve(name, points)


def is_number(value: object) -> bool:
    """Whether it can be drawn: a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _charts(
    records: Sequence[Record], kind: str, titles: dict[str, str], group_of: Callable[[str], str]
) -> list[Markup]:
    of_kind = [r for r in records if r.get("kind") == kind]
    names = dict.fromkeys(
        name for r in of_kind for name, v in r.items() if is_number(v) and name not in POSITION
    )
    groups: dict[str, list[Curve]] = {name: [] for name in titles}
    for name in names:
        found = curve(of_kind, name)
        if name != "skipped" or any(found.values):  # a line of zeros says nothing
            groups.setdefault(group_of(name), []).append(found)
    last_step = max((r["step"] for r in records), default=0)
    return [
        chart(titles.get(group, group), curves, last_step, group in RATIOS)
        for group, curves in groups.items()
        if curves
    ]


def _validation_group(name: str) -> str:
    return name.split(" ")[0]


def _training_group(name: str) -> str:
    kind, slash, rest = name.partition("/")
    if kind == "loss" and slash:  # loss/full, loss/chunk 32, loss/right 64
        first = rest.split(" ")[0]
        return "chunk" if first == "full" else first
    if not slash and (name == "loss" or name not in NOT_A_PART):
        return "parts"
    return next((known for known in TRAINING if name.startswith(known)), kind)
