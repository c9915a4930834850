"""Which epoch, averaged over how many: picked on the validation sets, before any test set is seen.

Every candidate of a small grid decodes ``data.valid`` of the run's config in the same way: greedy,
windowed, at one context. ``decode/selection.json`` keeps all their figures, and what was picked and
why. Asked again, only those candidates are decoded whose checkpoints, sets or context are new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NotRequired, TypedDict

import torch

from zipformer.checkpoint.files import epoch_path, epochs_in, load
from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.checkpoint.provenance import git_commit
from zipformer.config import RunConfig
from zipformer.config.reading import from_dict
from zipformer.context import Context, parse_contexts
from zipformer.data.loader import eval_batches
from zipformer.data.manifests import check_manifest
from zipformer.evaluation.evaluate import decode_batches
from zipformer.evaluation.scoring import Utterance, references_fingerprint, total_errors
from zipformer.evaluation.table import NO_RESULT, Table
from zipformer.files import write_text

SELECTION = "selection.json"


@dataclass(frozen=True)
class Grid:
    """What is tried.

    Args:
        epoch: Only this epoch; the last ones if None.
        avg: Only this average; averages over one epoch and more if None.
        epochs: How many of the last epochs.
        averages: The largest average.
        cuts: The first so many cuts of every validation set; 0 = all.
        context: To decode at; if None the run's first validation context that streams, if
            possible with right context.
    """

    epoch: int | None = None
    avg: int | None = None
    epochs: int = 3
    averages: int = 5
    cuts: int = 0
    context: Context | None = None


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
    """

    epoch: int
    avg: int
    errors: int
    words: int
    references: str
    checkpoints: dict[str, list[int]]
    git_commit: str | None

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
            f"epoch {best.epoch}, avg {best.avg} has the lowest WER, {best.wer:.2f} %, of "
            f"{len(self.candidates)} candidates on the validation sets {sets}{part} at context "
            f"{asked['context']}, {asked.get('method', 'greedy')}, windowed"
        )

    def table(self) -> Table:
        """WER by epoch and average, a star at the one picked."""
        averages = sorted({c.avg for c in self.candidates})
        cells = {(c.epoch, c.avg): f"{c.wer:.2f}" for c in self.candidates}
        cells[self.picked.epoch, self.picked.avg] = f"* {self.picked.wer:.2f}"
        rows = [
            [str(epoch), *(cells.get((epoch, avg), NO_RESULT) for avg in averages)]
            for epoch in sorted({c.epoch for c in self.candidates})
        ]
        return Table(["epoch", *(f"avg {avg}: WER %" for avg in averages)], rows)


def select(
    exp_dir: Path,
    grid: Grid | None = None,
    use_averaged_model: bool = True,
    device: str | torch.device = "cpu",
    report: Callable[[str], None] = lambda line: None,
) -> Selection:
    """Tries the candidates of a grid on the run's validation sets, and on nothing else.

    Args:
        exp_dir: The run's folder; ``decode/selection.json`` in it is read and written.
        grid: The candidates, and how they are decoded.
        use_averaged_model: As ``load_model`` takes it.
        device: Where to decode.
        report: Gets a line for every candidate.

    Raises:
        FileNotFoundError: If there is no such epoch, or a validation set is missing.
        ValueError: If the run has no validation sets, or no candidate can be tried.
    """
    grid = grid or Grid()
    pairs = _pairs(exp_dir, grid)
    config = from_dict(load(epoch_path(exp_dir, pairs[0][0]), mmap=True)["config"])
    context = grid.context or selection_context(config)
    path = exp_dir / "decode" / SELECTION
    selection = Selection(_question(config, context, grid.cuts, use_averaged_model), [], {})
    files = {pair: _checkpoints(exp_dir, *pair) for pair in pairs}
    earlier = read_selection(path)
    if earlier is not None and earlier.question == selection.question:
        for candidate in earlier.candidates:
            if candidate.checkpoints == files.get((candidate.epoch, candidate.avg)):
                selection.candidates.append(candidate)
    known = {(c.epoch, c.avg) for c in selection.candidates}
    for epoch, avg in [pair for pair in pairs if pair not in known]:
        name = f"epoch {epoch}, avg {avg}"
        try:
            loaded = load_model(exp_dir, epoch, avg, None, use_averaged_model, device)
        except (ValueError, FileNotFoundError) as error:
            selection.left_out[name] = str(error)
            report(f"{name}: left out, {error}")
            continue
        candidate = _try(loaded, context, grid.cuts, epoch, avg, files[epoch, avg])
        report(f"{name}: WER {candidate.wer:.2f} % on the validation sets")
        selection.candidates.append(candidate)
        _write(path, selection, complete=False)
    if not selection.candidates:
        raise ValueError(f"no epoch of {exp_dir} could be tried: {selection.left_out}")
    _write(path, selection, complete=True)
    return selection


def read_selection(path: Path) -> Selection | None:
    """What a ``selection.json`` holds; None if there is none, or it cannot be read."""
    names = [field.name for field in fields(Candidate)]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        candidates = [Candidate(*(c[name] for name in names)) for c in content["candidates"]]
        return Selection(content["question"], candidates, content["left_out"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def selection_context(config: RunConfig) -> Context:
    """The run's first validation context that streams, if possible with right context."""
    contexts = parse_contexts(config.validation.contexts)
    streaming = [c for c in contexts if c.streams]
    with_right = [c for c in streaming if c.right > 0]
    return next(iter([*with_right, *streaming, *contexts]), Context.full())


def _pairs(exp_dir: Path, grid: Grid) -> list[tuple[int, int]]:
    """(epoch, average), the latest epoch first; averages stay within the run and its files."""
    if exp_dir.is_file():
        raise ValueError(f"{exp_dir} is one checkpoint: there is nothing to choose in it")
    there = epochs_in(exp_dir)
    if not there:
        raise FileNotFoundError(
            f"{exp_dir} holds no epoch-N.pt to choose from: train for an epoch, or leave --epoch "
            "out to take the newest checkpoint"
        )
    if min(grid.epochs, grid.averages) < 1 or grid.cuts < 0:
        raise ValueError("choosing needs at least one epoch and one average, and no negative cuts")
    epochs = there[-grid.epochs :] if grid.epoch is None else [grid.epoch]
    averages = range(1, grid.averages + 1) if grid.avg is None else [grid.avg]
    if missing := [e for e in epochs if e not in there]:
        raise FileNotFoundError(
            f"{epoch_path(exp_dir, missing[0])} does not exist; epochs: {there}"
        )
    starts = {0, *there}
    pairs = [(e, a) for e in reversed(epochs) for a in averages if e - a in starts]
    if not pairs:
        raise ValueError(
            f"none of the epochs {epochs} can be averaged over {list(averages)}: epoch-N.pt of the "
            f"epoch before the first is needed; there are {there}"
        )
    return pairs


def _question(config: RunConfig, context: Context, cuts: int, use_averaged_model: bool) -> Question:
    if not config.data.valid:
        raise ValueError(
            "choosing an epoch takes validation sets, and data.valid of the run's config is empty: "
            "give --epoch and --avg as numbers"
        )
    for path in config.data.valid:
        check_manifest(path)
    return {
        "sets": {str(path): _identity(path) for path in config.data.valid},
        "cuts": cuts,
        "context": str(context),
        "right_mode": "windowed",
        "method": "greedy" if config.model.transducer else "ctc_greedy",
        "use_averaged_model": use_averaged_model,
    }


def _try(
    loaded: LoadedModel,
    context: Context,
    cuts: int,
    epoch: int,
    avg: int,
    files: dict[str, list[int]],
) -> Candidate:
    loaded.check_context(context)
    utterances: list[Utterance] = []
    for path in loaded.config.data.valid:
        batches = eval_batches(path, loaded.tokenizer, loaded.config.data, limit=cuts)
        utterances += decode_batches(loaded, batches, context).utterances
    errors = total_errors(utterances)
    if not errors.words:
        raise ValueError(f"the validation sets hold no reference words: {loaded.config.data.valid}")
    said = references_fingerprint(utterances)
    return Candidate(epoch, avg, errors.errors, errors.words, said, files, git_commit())


def _checkpoints(exp_dir: Path, epoch: int, avg: int) -> dict[str, list[int]]:
    paths = [epoch_path(exp_dir, n) for n in range(max(epoch - avg, 1), epoch + 1)]
    return {path.name: _identity(path) for path in paths if path.exists()}


def _identity(path: Path) -> list[int]:
    """What changes when a file, or the content of a folder, is replaced: size and time."""
    files: Sequence[Path] = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [file.stat() for file in files]
    return [sum(f.st_size for f in found), max((f.st_mtime_ns for f in found), default=0)]


def _write(path: Path, selection: Selection, complete: bool) -> None:
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
