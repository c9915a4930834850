"""Command-line options that the scripts share, and how they are read."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import torch

from zipformer.config import RunConfig
from zipformer.decoding.methods import METHODS
from zipformer.decoding.results import Mode
from zipformer.training.checkpoint import LoadedModel, load_model


def add_model_options(parser: ArgumentParser) -> None:
    """Which weights, and on which device."""
    parser.add_argument("exp_dir", type=Path, help="folder of the run")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--epoch", type=int, help="take epoch-N.pt (default: the newest checkpoint)")
    which.add_argument("--iter", type=int, help="take checkpoint-STEP.pt instead")
    parser.add_argument(
        "--avg", type=int, default=1, help="epochs (or step checkpoints) to average (default: 1)"
    )
    parser.add_argument(
        "--use-averaged-model",
        type=parse_bool,
        default=True,
        metavar="true|false",
        help="average over all steps of these epochs, not only over their ends (default: true)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: auto)")


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
        " padded (the same with silence behind the audio in place of an end, as sherpa-onnx hears"
        " it), masked (cheaper, but no stream gives it), or several, separated by commas",
    )
    parser.add_argument(
        "--stream",
        dest="right_mode",
        action="store_const",
        const=["stream"],
        help="the same as --right-mode stream: audio in, chunk by chunk, as a live stream",
    )


def add_search_options(parser: ArgumentParser) -> None:
    """How words are searched."""
    parser.add_argument(
        "--method", choices=METHODS, default="greedy", help="search method (default: greedy)"
    )
    parser.add_argument(
        "--beam", type=int, default=4, help="hypotheses in modified_beam_search (default: 4)"
    )


def load(options: Namespace) -> LoadedModel:
    """The model that ``add_model_options`` asked for."""
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_model(
        options.exp_dir,
        epoch=options.epoch,
        avg=options.avg,
        iter=options.iter,
        use_averaged_model=options.use_averaged_model,
        device=device,
    )


def choose_sets(config: RunConfig, text: str | None) -> dict[str, Path]:
    """Test sets by name: those of the run's config, or others as ``name=manifest``.

    Args:
        config: Of the trained model.
        text: Separated by commas, as in ``clean,mine=data/mine.jsonl.gz``; None = all of the
            config.

    Raises:
        ValueError: If a set is unknown, listing those there are, or there is none.
    """
    known = config.data.test
    chosen = dict(known) if text is None else {}
    for part in (text or "").split(","):
        name, equals, path = part.strip().partition("=")
        if equals:
            chosen[name] = Path(path)
        elif name in known:
            chosen[name] = known[name]
        elif name:
            there = ", ".join(known) or "none"
            raise ValueError(
                f"unknown test set {name!r}; the run's config (data.test) has: {there}. "
                f"Write {name}=cuts.jsonl.gz to decode any manifest"
            )
    if not chosen:
        raise ValueError("no test set: write --sets name=cuts.jsonl.gz")
    return chosen


def parse_modes(text: str) -> list[Mode]:
    """Right-context modes separated by commas, for argparse."""
    known = get_args(Mode)
    modes = text.split(",")
    if unknown := [mode for mode in modes if mode not in known]:
        raise ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
    return modes  # type: ignore[return-value]


def parse_bool(text: str) -> bool:
    """Reads true or false, for argparse."""
    values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in values:
        raise ArgumentTypeError(f"{text!r}: write true or false")
    return values[text.lower()]


@contextmanager
def for_people() -> Iterator[None]:
    """Warnings to stderr; errors that a user can mend as one line instead of a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        yield
    except (ValueError, FileNotFoundError, MemoryError) as error:
        sys.exit(f"error: {error}")
