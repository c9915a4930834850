"""Tries out on this machine what training needs from a GPU.

zipformer check-gpu --out report.md

Versions, compiler and kernels; steps in every number format against a CPU's; waits; stop and
resume; several GPUs; running out of memory; the speed of the published sizes. It needs no data and
takes up to eight minutes. Without a GPU it does what can be done, and says why it skips the rest.
The exit status is 1 if a check fails.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.config.reading import suggest
from zipformer.diagnosis import catalogue
from zipformer.diagnosis.check import Check, Setting
from zipformer.diagnosis.report import line_of, markdown, to_json
from zipformer.diagnosis.runner import Runner
from zipformer.files import write_text


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--out", type=Path, help="also write the Markdown to this file")
    parser.add_argument(
        "--largest", action="store_true", help="also search the largest batches; takes longer"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only checks of these names")


def run(args: Namespace) -> None:
    """Runs the checks, a line for each as it ends, and prints what they have found.

    Raises:
        ValueError: If there is no GPU although one was asked for, or no check of a name.
    """
    setting = Setting(_device(args.device), Path())
    checks = _chosen(catalogue.all_checks(setting, args.largest), args.only)
    seconds = catalogue.SECONDS + args.largest * len(catalogue.SIZES) * catalogue.LARGEST_SECONDS
    start = time.monotonic()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="check-gpu-") as folder:
        for outcome in Runner(Setting(setting.device, Path(folder)), seconds).run(checks):
            outcomes.append(outcome)
            print(line_of(outcome, time.monotonic() - start), flush=True)
    text = markdown(outcomes)
    print(f"\n{text}")
    if args.out:
        write_text(args.out, text)
    if args.json:
        print(to_json(outcomes))
    if any(outcome.failed for outcome in outcomes):
        sys.exit(1)


def _device(asked: str) -> str:
    has_cuda = torch.cuda.is_available()
    if asked == "cuda" and not has_cuda:
        raise ValueError("--device cuda, but torch finds no CUDA device; use auto or cpu")
    return "cuda" if has_cuda and asked != "cpu" else "cpu"


def _chosen(checks: list[Check], names: Sequence[str] | None) -> list[Check]:
    known = [check.name for check in checks]
    for name in names or ():
        if name not in known:
            raise ValueError(f"--only {name}: there is no such check{suggest(name, known)}")
    return [check for check in checks if names is None or check.name in names]
