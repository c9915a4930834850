"""Which epoch, averaged over how many: picked on the validation sets, before any test set is seen.

Every candidate of a small grid decodes ``data.valid`` of the run's config in the same way: greedy,
windowed, at one context. ``decode/selection.json`` keeps all their figures, and what was picked and
why. Asked again, only those candidates are decoded whose checkpoints, sets or context are new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from zipformer.checkpoint.files import epoch_path, epochs_in, load
from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.checkpoint.provenance import git_commit
from zipformer.config import RunConfig
from zipformer.config.reading import from_dict
from zipformer.context import Context, parse_contexts
from zipformer.data.loader import eval_batches
from zipformer.data.manifests import check_manifest, set_names
from zipformer.evaluation.candidates import (
    SELECTION,
    Candidate,
    Question,
    Selection,
    read_selection,
    write_selection,
)
from zipformer.evaluation.evaluate import decode_batches
from zipformer.evaluation.scoring import Utterance, references_fingerprint, total_errors
from zipformer.tokens.scoring import unit_of


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
        report(f"{name}: {candidate.rate}")
        selection.candidates.append(candidate)
        write_selection(path, selection, complete=False)
    if not selection.candidates:
        raise ValueError(f"no epoch of {exp_dir} could be tried: {selection.left_out}")
    write_selection(path, selection, complete=True)
    return selection


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
    valid = loaded.config.data.valid
    utterances: list[Utterance] = []
    by_set: dict[str, float] = {}
    for name, path in zip(set_names(valid), valid, strict=True):
        batches = eval_batches(path, loaded.tokenizer, loaded.config.data, limit=cuts)
        of_set = decode_batches(loaded, batches, context).utterances
        by_set[name] = round(total_errors(of_set).wer, 4)
        utterances += of_set
    errors = total_errors(utterances)
    if not errors.words:
        raise ValueError(f"the validation sets hold no reference words: {valid}")
    said = references_fingerprint(utterances)
    unit = unit_of(loaded.config.scoring, (u.reference for u in utterances))
    return Candidate(
        epoch,
        avg,
        errors.errors,
        errors.words,
        said,
        files,
        git_commit(),
        unit,
        by_set if len(valid) > 1 else {},
    )


def _checkpoints(exp_dir: Path, epoch: int, avg: int) -> dict[str, list[int]]:
    paths = [epoch_path(exp_dir, n) for n in range(max(epoch - avg, 1), epoch + 1)]
    return {path.name: _identity(path) for path in paths if path.exists()}


def _identity(path: Path) -> list[int]:
    """What changes when a file, or the content of a folder, is replaced: size and time."""
    files: Sequence[Path] = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [file.stat() for file in files]
    return [sum(f.st_size for f in found), max((f.st_mtime_ns for f in found), default=0)]
