"""Writes one page about a run: curves, error rates, worst utterances, config and environment.

zipformer report exp/librispeech/medium      # writes report.html there; no network needed
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.report import write_report


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    parser.add_argument("exp_dir", type=Path, help="folder of the run")
    parser.add_argument("--html", type=Path, help="default: report.html in that folder")
    parser.add_argument(
        "--worst", type=int, default=10, help="utterances to show of every result (default: 10)"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="folder for the plots as PDF and PNG"
    )


def run(args: Namespace) -> None:
    """Writes the page."""
    print(f"Page: {write_report(args.exp_dir, args.html, args.worst, args.figures)}")
    if args.figures:
        print(f"Figures: {args.figures}")
