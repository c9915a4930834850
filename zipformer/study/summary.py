"""The results of a study as rows: means over seeds, their spread, and what is significant."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cache
from pathlib import Path

from lhotse import CutSet

from zipformer.checkpoint.fingerprint import settings_fingerprint
from zipformer.context import Context
from zipformer.evaluation.resampling import Difference, Unit, compare
from zipformer.evaluation.results import RECOGNIZED, Result, read_recognized
from zipformer.evaluation.scoring import Utterance
from zipformer.report.comparable import CODE, DATA, DIRTY, marks_of, same_set
from zipformer.serving.latency import Delay
from zipformer.study.description import Run, Study
from zipformer.study.training import Training

OUTDATED, OTHER_SET = "outdated", "set"  # marks of rows, as those of ``report.comparable``


@dataclass(frozen=True)
class Way:
    """How a row was decoded: search, context, mode and test set."""

    method: str
    context: str
    right_mode: str
    set: str


@dataclass(frozen=True)
class Row:
    """A run decoded in one way, over its seeds.

    Args:
        run: The way to train.
        way: How it was decoded.
        seeds: Those that there are results of.
        results: One for each of them.
        relative: Change of the mean against the baseline's in percent; None for the baseline, and
            where there is nothing to compare with.
        difference: The same in points, with its interval.
        marks: What a reader must know of the results: see ``explain_marks``.
        latency: From the end of speech to the emission of the last token in a live stream, the mean
            over the seeds; None if it was not measured.
    """

    run: Run
    way: Way
    seeds: tuple[int, ...]
    results: tuple[Result, ...]
    relative: float | None = None
    difference: Difference | None = None
    marks: tuple[str, ...] = ()
    latency: Delay | None = None

    @property
    def wers(self) -> list[float]:
        """Word error rates in percent, by seed."""
        return [result.wer for result in self.results]

    @property
    def mean(self) -> float:
        """Of the word error rates."""
        return statistics.fmean(self.wers)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None of a single one."""
        return statistics.stdev(self.wers) if len(self.wers) > 1 else None

    @property
    def context(self) -> Context:
        """What the encoder saw."""
        return Context.parse(self.way.context)


def summarize(study: Study, trainings: Sequence[Training]) -> list[Row]:
    """A row for each run and way that there is a result of, in the order of the study.

    Raises:
        ValueError: If a result is damaged, or ``show.units`` is not in the cuts.
    """
    found: dict[tuple[str, Way], list[tuple[Training, Result]]] = {}
    for training in trainings:
        for r in training.results():
            way = Way(r.method, r.context, r.right_mode, r.set)
            found.setdefault((training.run.name, way), []).append((training, r))
    baseline = study.show.baseline or study.runs[0].name
    rows = []
    for run in study.runs:
        for (name, way), members in found.items():
            if name == run.name:
                other = found.get((baseline, way), []) if name != baseline else []
                rows.append(_row(study, run, way, members, other))
    if not rows:
        return []
    return [
        replace(_marked(row, rows, trainings), latency=_latency(row, trainings)) for row in rows
    ]


def _row(
    study: Study,
    run: Run,
    way: Way,
    members: Sequence[tuple[Training, Result]],
    baseline: Sequence[tuple[Training, Result]],
) -> Row:
    row = Row(run, way, tuple(t.seed for t, _ in members), tuple(r for _, r in members))
    results = [r for _, r in (*members, *baseline)]
    if not baseline or not all(same_set(results[0], r) for r in results):
        return row
    other = statistics.fmean(r.wer for _, r in baseline)
    sides = [[_utterances(t, r) for t, r in side] for side in (members, baseline)]
    units = _units(baseline[0][0].config.data.test[way.set], study.show.units)
    difference = compare(sides[0], sides[1], units, study.show.draws)
    relative = 100 * (row.mean - other) / other if other else None
    return Row(run, way, row.seeds, row.results, relative, difference)


def _latency(row: Row, trainings: Sequence[Training]) -> Delay | None:
    """Of the live streams whose words a row counts."""
    if not row.results[0].streamable:
        return None
    delays = [
        measured.emission
        for training in trainings
        if training.run.name == row.run.name and training.seed in row.seeds
        for measured in training.latencies(row.way.method)
        if (measured.set, measured.context) == (row.way.set, row.way.context) and measured.emission
    ]
    if not delays:
        return None
    return Delay(*(statistics.fmean(v) for v in zip(*map(astuple, delays), strict=True)))


def _marked(row: Row, rows: Sequence[Row], trainings: Sequence[Training]) -> Row:
    """With marks where the results are not of the same data, code, settings or test set."""
    first = rows[0].results[0]
    of_set = next(r.results[0] for r in rows if r.way.set == row.way.set)
    configs = {t.seed: t.config for t in trainings if t.run.name == row.run.name}
    found: set[str] = set()
    for seed, result in zip(row.seeds, row.results, strict=True):
        found |= {m for m in marks_of(result, first) if m.startswith((DATA, CODE, DIRTY))}
        if result.train_settings not in (None, settings_fingerprint(configs[seed])):
            found.add(OUTDATED)
        if not same_set(result, of_set):
            found.add(OTHER_SET)
    return Row(
        row.run, row.way, row.seeds, row.results, row.relative, row.difference, tuple(sorted(found))
    )


@cache
def _utterances(training: Training, result: Result) -> list[Utterance]:
    return read_recognized(training.folder / "decode" / result.folder / RECOGNIZED)


@cache
def _units(manifest: Path, field: str) -> Mapping[str, Sequence[Unit]] | None:
    """By cut, the recording that each of its words comes from; None if no field says it."""
    if not field:
        return None
    units = {}
    for cut in CutSet.from_file(manifest):
        said = cut.supervisions[0]
        values = (cut.custom or {}).get(field)
        words = said.text.split()
        if not isinstance(values, list) or len(values) != len(words):
            raise ValueError(
                f"show.units: cut {cut.id} of {manifest} has no list {field!r} with a value for "
                "every word; leave show.units out to resample utterances"
            )
        units[cut.id] = [(said.speaker or "", w, v) for w, v in zip(words, values, strict=True)]
    return units


def explain_marks(rows: Sequence[Row]) -> list[str]:
    """A sentence for each kind of mark of the study's own."""
    marks = {mark for row in rows for mark in row.marks}
    sentences = {
        OUTDATED: "Rows marked outdated were trained with other settings than the study now says.",
        OTHER_SET: "Rows marked set are on other utterances than the first row of that test set, "
        "and are compared with nothing.",
    }
    return [text for mark, text in sentences.items() if mark in marks]
