"""Command-line options that the verbs share, and how they are read."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TextIO, get_args

import torch

from zipformer.checkpoint.loading import LoadedModel, load_model
from zipformer.context import Context
from zipformer.evaluation.results import Mode
from zipformer.evaluation.selection import Grid, select
from zipformer.evaluation.table import to_markdown

AUTO = "auto"  # --epoch and --avg: picked on the validation sets


def add_model_options(parser: ArgumentParser) -> None:
    """Which weights, and on which device."""
    parser.add_argument("exp_dir", type=Path, help="folder of the run")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--epoch",
        type=parse_count,
        metavar="N|auto",
        help="take epoch-N.pt (default: the newest checkpoint), or pick it on the validation sets",
    )
    which.add_argument("--iter", type=int, help="take checkpoint-STEP.pt instead")
    parser.add_argument(
        "--avg",
        type=parse_count,
        metavar="N|auto",
        help="epochs (or step checkpoints) to average; auto picks it on the validation sets, as "
        "it does by default with --epoch auto (else 1)",
    )
    parser.add_argument(
        "--use-averaged-model",
        type=parse_bool,
        default=True,
        metavar="true|false",
        help="average over all steps of these epochs, not only over their ends (default: true)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: auto)")
    grid = Grid()
    auto = parser.add_argument_group("picking with auto, on data.valid of the run's config only")
    auto.add_argument(
        "--select-context",
        type=parse_context,
        metavar="C/L/R",
        help="context to compare at (default: the first of validation.contexts that streams)",
    )
    auto.add_argument(
        "--select-epochs",
        type=int,
        default=grid.epochs,
        metavar="N",
        help=f"try the last N epochs (default: {grid.epochs})",
    )
    auto.add_argument(
        "--select-averages",
        type=int,
        default=grid.averages,
        metavar="N",
        help=f"try averages over 1 to N epochs (default: {grid.averages})",
    )
    auto.add_argument(
        "--select-cuts",
        type=int,
        default=grid.cuts,
        metavar="N",
        help="decode only the first N cuts of each set (default: all)",
    )


def add_context_options(parser: ArgumentParser) -> None:
    """One context by its sizes."""
    note = "frames of 10 ms"
    parser.add_argument("--chunk", type=int, help=f"{note}; -1 = whole utterance (the default)")
    parser.add_argument("--left", type=int, help=f"{note} of history; -1 = unlimited")
    parser.add_argument("--right", type=int, help=f"{note} of look-ahead beyond the chunk")


def add_mode_options(parser: ArgumentParser) -> None:
    """How right context is computed."""
    parser.add_argument(
        "--right-mode",
        type=parse_modes,
        default=["windowed"],
        help="windowed (what a stream gives; the default), stream (live streams hear the audio),"
        " padded (the same with silence after the audio in place of an end, as sherpa-onnx hears"
        " it), masked (cheaper, but no stream gives it), or several, separated by commas",
    )
    parser.add_argument(
        "--stream",
        dest="right_mode",
        action="store_const",
        const=["stream"],
        help="the same as --right-mode stream: audio in, chunk by chunk, as a live stream",
    )


def load(options: Namespace, output: TextIO | None = None) -> LoadedModel:
    """The model that ``add_model_options`` asked for.

    Where that says ``auto``, the checkpoint is picked on the validation sets first: ``epoch`` and
    ``avg`` of the options become the numbers picked, and ``chosen`` says why (else it is None).

    Args:
        options: As parsed.
        output: Where the grid of candidates is printed; stderr by default.

    Raises:
        ValueError: If the options do not go together, or as ``load_model`` and ``select``.
        FileNotFoundError: As these.
    """
    options.chosen = None
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if AUTO in (options.epoch, options.avg):
        _pick(options, sys.stderr if output is None else output)
    return load_model(
        options.exp_dir,
        epoch=options.epoch,
        avg=1 if options.avg is None else options.avg,
        iter=options.iter,
        use_averaged_model=options.use_averaged_model,
        device=options.device,
    )


def _pick(options: Namespace, output: TextIO) -> None:
    """Puts numbers in the place of ``auto``."""
    if options.epoch is None:
        raise ValueError("--avg auto needs --epoch auto or --epoch N")
    grid = Grid(
        epoch=None if options.epoch == AUTO else options.epoch,
        avg=None if options.avg == AUTO else options.avg,
        epochs=options.select_epochs,
        averages=options.select_averages,
        cuts=options.select_cuts,
        context=options.select_context,
    )
    selection = select(
        options.exp_dir,
        grid,
        options.use_averaged_model,
        options.device,
        lambda line: print(line, file=output, flush=True),
    )
    print(f"{to_markdown(selection.table())}\n\npicked: {selection.why}\n", file=output, flush=True)
    options.epoch, options.avg = selection.picked.epoch, selection.picked.avg
    options.chosen = f"auto: {selection.why}"


def parse_modes(text: str) -> list[Mode]:
    """Right-context modes separated by commas, for argparse."""
    known = get_args(Mode)
    modes = text.split(",")
    if unknown := [mode for mode in modes if mode not in known]:
        raise ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
    return modes  # type: ignore[return-value]


def parse_count(text: str) -> int | str:
    """A number or ``auto``, for argparse."""
    if text != AUTO and not text.isdecimal():
        raise ArgumentTypeError(f"{text!r}: write a number or {AUTO}")
    return text if text == AUTO else int(text)


def parse_context(text: str) -> Context:
    """One context, for argparse."""
    try:
        return Context.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def parse_bool(text: str) -> bool:
    """Reads true or false, for argparse."""
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise ArgumentTypeError(f"{text!r}: write true or false")
    return values[text.lower()]
