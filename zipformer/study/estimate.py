"""How long a study will take: from the pace of trainings that are there, or from a few steps."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zipformer.data.manifests import manifest_seconds
from zipformer.evaluation.table import NO_RESULT, Table, to_markdown
from zipformer.study.running import ZIPFORMER, Place
from zipformer.study.training import Training
from zipformer.training.console import format_duration
from zipformer.training.metrics import Record, read_metrics

WARM_STEPS, MEASURED_STEPS = 2, 6
# What a measurement leaves out, so that it is over with its steps.
BARE = "--train.valid-every 0 --validation.wer-cuts 0 --train.tensorboard false".split()


@dataclass(frozen=True)
class Pace:
    """How fast a training goes.

    Args:
        step_hours: Audio of a step.
        hours_per_hour: Audio in an hour.
        source: Where that was seen.
    """

    step_hours: float
    hours_per_hour: float
    source: str


def estimate_table(trainings: Sequence[Training], jobs: int) -> str:
    """What is missing of each training and how long it takes, as Markdown, and the sum.

    Args:
        trainings: Of one study.
        jobs: Trainings at a time; that several of them slow each other down is not known here.
    """
    paces: dict[str, Pace | str] = {}
    rows, total, unknown = [], 0.0, 0
    for training in trainings:
        if training.run.name not in paces:
            siblings = [t for t in trainings if t.run.name == training.run.name]
            paces[training.run.name] = _pace(siblings)
        decodings = len(training.decode_words())
        cells = [training.name, f"{100 * training.done:.0f}", str(decodings) if decodings else "-"]
        pace = paces[training.run.name]
        if training.is_trained:
            rows.append([*cells, NO_RESULT, NO_RESULT])
        elif isinstance(pace, str):
            unknown += 1
            rows.append([*cells, "?", pace])
        else:
            seconds = 3600 * hours_of(training, pace) * (1 - training.done) / pace.hours_per_hour
            total += seconds
            rows.append([*cells, format_duration(seconds), pace.source])
    table = Table(["training", "trained %", "decodings", "time left", "measured on"], rows)
    text = f"{to_markdown(table)}\n\nTraining that is left: {format_duration(total / jobs)}"
    text += f" with {jobs} at a time, if these do not slow each other down" if jobs > 1 else ""
    text += f"; {unknown} trainings are not counted in it" if unknown else ""
    text += ". Decoding comes on top."
    gone = dict.fromkeys(path for t in trainings if not t.is_trained for path in missing_files(t))
    return f"{text}\n\n{_advice(list(gone))}" if gone else text


def missing_files(training: Training) -> list[str]:
    """What a training reads and is not there, each with its key; none if it can begin."""
    data = training.config.data
    named = [("bpe_model", data.bpe_model), *(("train", corpus.path) for corpus in data.corpora)]
    named += [("valid", path) for path in data.valid]
    named += [("noise", data.noise)] if data.noise is not None else []
    return [f"data.{key}: {path}" for key, path in named if not path.exists()]


def _advice(gone: list[str]) -> str:
    listed = "".join(f"\n- {one}" for one in gone)
    return f"Not there; prepare the data first, as the README of the recipe says:\n{listed}"


def hours_of(training: Training, pace: Pace) -> float:
    """Hours of audio that a whole training hears."""
    settings = training.config
    epoch = sum(c.weight * manifest_seconds(c.path) for c in settings.data.corpora) / 3600
    heard = epoch * settings.train.num_epochs
    most = settings.train.max_steps * pace.step_hours
    return min(heard, most) if most else heard


def _pace(siblings: Sequence[Training]) -> Pace | str:
    """Of trainings that differ in their seeds; a text says why it is not known."""
    for training in siblings:
        if pace := _pace_in(training.folder, training.name):
            return pace
    if gone := missing_files(siblings[0]):
        return f"not known: {len(gone)} of its files {'is' if len(gone) == 1 else 'are'} missing"
    return _measure(siblings[0])


def _pace_in(folder: Path, name: str) -> Pace | None:
    records: list[Record] = [
        r for r in read_metrics(folder / "metrics.jsonl") if r.get("kind") == "train"
    ]
    if not records or not records[-1].get("hours_per_hour"):
        return None
    last = records[-1]
    return Pace(last["audio_hours"] / last["step"], last["hours_per_hour"], name)


def _measure(training: Training) -> Pace | str:
    """Takes a few steps of the training in a folder of its own, which is deleted."""
    with tempfile.TemporaryDirectory() as folder:
        exp_dir, steps = Path(folder) / "run", WARM_STEPS + MEASURED_STEPS
        words = [*training.train_words(), *BARE, "--train.exp-dir", str(exp_dir)]
        words += ["--train.max-steps", str(steps), "--train.log-every", str(WARM_STEPS)]
        done = subprocess.run(
            [*ZIPFORMER, *words],
            capture_output=True,
            text=True,
            env=Place().environment(),
        )
        if pace := _pace_in(exp_dir, f"{steps} steps, now"):
            return pace
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return f"not known: {lines[-1] if lines else f'exit status {done.returncode}'}"
