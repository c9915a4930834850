"""Trained models as they are used: averaged over the end of training, with what belongs to them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from zipformer.checkpoint.averaging import range_mean
from zipformer.checkpoint.files import (
    WEIGHTS,
    Checkpoint,
    epoch_path,
    load,
    load_weights,
    newest,
    numbers,
    sha256,
    step_path,
    steps_in,
)
from zipformer.checkpoint.provenance import Provenance
from zipformer.config import ContextConfig, RunConfig
from zipformer.config.menu import describe_menu, in_menu
from zipformer.config.reading import from_dict
from zipformer.context import Context
from zipformer.model import AsrModel
from zipformer.tokens import Tokenizer, open_tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready for inference.

    Args:
        model: On the device asked for, in evaluation mode.
        config: The config it was trained with.
        tokenizer: The one it was trained with.
        label: What it is, for names of folders and tables: ``epoch30-avg9``.
        path: The (last) checkpoint that it comes from.
        steps: Training steps that it has had.
        audio_seconds: Audio that it was trained on, repeats counted.
        train_seconds: What training took, by the clock; 0 where that was not kept.
        provenance: Which code and data trained it; None where that was not kept.
    """

    model: AsrModel
    config: RunConfig
    tokenizer: Tokenizer
    label: str
    path: Path
    steps: int
    audio_seconds: float
    train_seconds: float = 0.0
    provenance: Provenance | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def check_context(self, context: Context, live: bool = False) -> None:
        """Refuses what the model cannot compute; warns, once, of what it was not trained for.

        Args:
            context: To decode with.
            live: Whether live streams are to hear the audio.

        Raises:
            ValueError: On a context that the encoder cannot compute, or cannot stream.
        """
        self.config.encoder.check_context(context)
        if live and not context.streams:
            raise ValueError(
                f"context {context} cannot stream: a stream needs a finite chunk and a finite left "
                "context, as in 32/256/64"
            )
        trained = context.is_full and self.config.method.rules.trains_full
        if not trained and not in_menu(context, self.config.context):
            _warn_once(self.path.parent, context, self.config.context)


def load_model(
    exp_dir: Path,
    epoch: int | None = None,
    avg: int = 1,
    iter: int | None = None,
    use_averaged_model: bool = True,
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Loads a model from a run's folder, averaged over the end of its training.

    With ``use_averaged_model`` the weights are the mean over all snapshots (one every
    ``train.average_every`` steps) of the last ``avg`` epochs up to ``epoch``, which takes the two
    checkpoints epoch-``epoch`` and epoch-``epoch - avg``, or the first alone when ``avg`` equals
    ``epoch``: the average then runs from the start of training. Without it the weights are the
    plain mean of the last ``avg`` checkpoints' own weights; ``avg = 1`` is the checkpoint as it is.
    With ``iter`` the same holds for step checkpoints: ``avg`` counts these.

    Args:
        exp_dir: The run's folder; or one file, whose own weights are taken (see ``load_file``), as
            are those of ``model.pt`` in a folder without checkpoints.
        epoch: Takes ``epoch-N.pt``.
        avg: How many epochs (or step checkpoints) to average over, at least 1.
        iter: Takes ``checkpoint-STEP.pt`` instead.
        use_averaged_model: See above.
        device: Where the model goes.

    Raises:
        FileNotFoundError: If a checkpoint is missing, listing those that exist.
        ValueError: If the request makes no sense, or a file does not belong to this run.
    """
    exp_dir = Path(exp_dir)
    if exp_dir.is_file():
        if (epoch, iter, avg) != (None, None, 1):
            raise ValueError(f"{exp_dir} is one checkpoint: epoch, iter and avg need a folder")
        return load_file(exp_dir, device)
    if avg < 1:
        raise ValueError(f"avg must be at least 1, got {avg}")
    if epoch is not None and iter is not None:
        raise ValueError("give either an epoch or an iter (step), not both")
    if epoch is None and iter is None:
        if (exp_dir / WEIGHTS).is_file() and newest(exp_dir) is None:
            return load_model(exp_dir / WEIGHTS, avg=avg, device=device)
        epoch, iter = _newest_numbers(exp_dir)
    if iter is not None:
        label, path = f"iter{iter}-avg{avg}", step_path(exp_dir, iter)
    else:
        label, path = f"epoch{epoch}-avg{avg}", epoch_path(exp_dir, epoch or 0)
    end = load(path, mmap=True)
    config = from_dict(end["config"])
    if iter is not None:
        series = _step_series(exp_dir, iter, avg, config.train.save_every)
    else:
        series = _epoch_series(exp_dir, epoch or 0, avg)
    if use_averaged_model:
        weights = _mean_of_snapshots(series[0], end, path)
    else:
        label, weights = f"{label}-raw", _mean_of_checkpoints(series[1:-1], end)
    return _assemble(end | {"model": weights}, label, path, device)


def load_file(path: Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Loads the weights of one checkpoint file as they are; the vocabulary lies beside it.

    Raises:
        FileNotFoundError: If one of the two is missing.
        ValueError: If the file is damaged or does not belong to that tokenizer.
    """
    content = load(path)
    return _assemble(content, content.get("label", path.stem), path, device)


def _assemble(
    content: Checkpoint, label: str, path: Path, device: str | torch.device
) -> LoadedModel:
    config = from_dict(content["config"])
    tokenizer = _load_tokenizer(path.parent, content, path)
    model = AsrModel.of(config, tokenizer.vocab_size)
    load_weights(model, content["model"], str(path))
    return LoadedModel(
        model=model.to(device).eval(),
        config=config,
        tokenizer=tokenizer,
        label=label,
        path=path,
        steps=content["state"]["step"],
        audio_seconds=content["state"]["audio_seconds"],
        train_seconds=content.get("clock", {}).get("seconds", 0.0),
        provenance=content.get("provenance"),
    )


def _newest_numbers(exp_dir: Path) -> tuple[int | None, int | None]:
    path = newest(exp_dir)
    if path is None:
        raise FileNotFoundError(f"{exp_dir} holds no checkpoint (epoch-N.pt or checkpoint-STEP.pt)")
    number = numbers([path])[0]
    return (number, None) if path.name.startswith("epoch-") else (None, number)


def _epoch_series(exp_dir: Path, epoch: int, avg: int) -> list[Path | None]:
    """The checkpoint before the range (None = start of training), and those of the range."""
    if avg > epoch:
        raise ValueError(f"avg = {avg} reaches back beyond the start of training at epoch {epoch}")
    numbers = range(epoch - avg, epoch + 1)
    return [epoch_path(exp_dir, n) if n > 0 else None for n in numbers]


def _step_series(exp_dir: Path, step: int, avg: int, save_every: int) -> list[Path | None]:
    """The same with the ``avg`` step checkpoints before ``step``."""
    steps = [n for n in steps_in(exp_dir) if n <= step][-(avg + 1) :]
    series: list[Path | None] = [step_path(exp_dir, n) for n in steps]
    reaches_start = steps[0] <= save_every
    if len(series) == avg and reaches_start:
        series.insert(0, None)
    if len(series) <= avg:
        raise ValueError(
            f"avg = {avg} at iter {step} needs {avg} earlier step checkpoints; {exp_dir} holds "
            f"{[n for n in steps if n < step]} (train.keep_last says how many are kept)"
        )
    return series


def _mean_of_snapshots(start: Path | None, end: Checkpoint, path: Path) -> dict[str, Tensor]:
    before = load(start, mmap=True)["average"] if start else None
    try:
        mean = range_mean(end["average"], before)
    except ValueError:
        every = from_dict(end["config"]).train.average_every
        raise ValueError(
            f"between {start.name if start else 'the start of training'} and {path.name} no "
            f"snapshot was taken: train.average_every = {every} steps is longer than that. "
            "Take the checkpoint's own weights (--use-averaged-model false), or train with a "
            "smaller train.average_every" + ("" if start is None else ", or take a larger --avg")
        ) from None
    return {**end["model"], **mean}  # what is not a float is as in the last checkpoint


def _mean_of_checkpoints(others: list[Path | None], end: Checkpoint) -> dict[str, Tensor]:
    mean = {n: w.double() for n, w in end["model"].items() if w.is_floating_point()}
    for path in others:
        assert path is not None, "only the start of the series may be the start of training"
        weights = load(path, mmap=True)["model"]
        mean = {name: total + weights[name] for name, total in mean.items()}
    count = len(others) + 1
    return {**end["model"], **{name: total / count for name, total in mean.items()}}


@cache
def _warn_once(run: Path, context: Context, menu: ContextConfig) -> None:
    logger.warning(
        "context %s is outside the menu that %s was trained with (%s): expect more errors",
        context,
        run.name,
        describe_menu(menu),
    )


def _load_tokenizer(exp_dir: Path, checkpoint: Checkpoint, path: Path) -> Tokenizer:
    (name,) = checkpoint["files"]
    vocabulary = exp_dir / name
    if not vocabulary.is_file():
        raise FileNotFoundError(f"{vocabulary} is missing: training puts it there; copy it back")
    if sha256(vocabulary) != checkpoint["files"][name]:
        raise ValueError(f"{vocabulary} is not the tokenizer that {path.name} was trained with")
    return open_tokenizer(vocabulary)
