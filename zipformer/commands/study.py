"""Trains and decodes all runs of a study file, and writes a page that compares them.

zipformer study recipes/digits/studies/right_context.toml --jobs 2
zipformer study FILE.toml --dry-run              # what it would do, and how long that takes
zipformer study --costs                          # parameters and operations of all encoders
"""

from __future__ import annotations

import shlex
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from zipformer.commands.costs import add_cost_options, check_cost_options, run_costs
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import parse_search
from zipformer.evaluation.table import to_markdown
from zipformer.files import write_text
from zipformer.study.costs import costs_of
from zipformer.study.description import Study
from zipformer.study.estimate import estimate_table
from zipformer.study.page import notes, rates_table, sets_of, to_csv, to_html
from zipformer.study.reading import read_study
from zipformer.study.running import Runner
from zipformer.study.summary import summarize
from zipformer.study.training import Training, trainings_of


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    parser.add_argument("study", type=Path, nargs="?", help="the study's TOML")
    parser.add_argument("--exp-dir", type=Path, help="folder of its runs and its page")
    parser.add_argument(
        "--jobs", type=_positive, default=1, help="trainings at a time (default: 1)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="list what is missing, with its cost")
    what.add_argument(
        "--print-commands", action="store_true", help="print what is missing as commands"
    )
    what.add_argument(
        "--page-only", action="store_true", help="write the page of what is there, run nothing"
    )
    add_cost_options(parser)


def run(args: Namespace) -> None:
    """Does what is missing of the study, and writes its page."""
    check_cost_options(args)
    if args.costs:
        run_costs(args, read_study(args.study, args.exp_dir) if args.study else None)
        return
    study = _with_names_of_searches(read_study(args.study, args.exp_dir))
    trainings = trainings_of(study)
    if args.print_commands:
        for training in trainings:
            _print_commands(training)
    elif args.dry_run:
        print(f"{study.title}: {len(trainings)} trainings in {study.runs_dir}\n")
        print(estimate_table(trainings, args.jobs))
    else:
        for folder in (study.exp_dir, study.runs_dir):
            folder.mkdir(parents=True, exist_ok=True)
        failed: list[Training] = []
        if not args.page_only:
            failed = Runner(_say, args.jobs).run(trainings)
        _report(study, trainings)
        if failed:
            names = ", ".join(training.name for training in failed)
            raise ValueError(f"{names} failed; the same command tries again what is missing")


def _report(study: Study, trainings: Sequence[Training]) -> None:
    rows = summarize(study, trainings)
    for name in sets_of(rows):
        table = rates_table(study, [row for row in rows if row.way.set == name])
        print(f"\nset {name}\n\n{to_markdown(table)}")
    for text in notes(rows):
        print(f"\nWARNING: {text}")
    page, results = study.exp_dir / "index.html", study.exp_dir / "results.csv"
    write_text(page, to_html(study, trainings, rows, costs_of(study)))
    write_text(results, to_csv(trainings))
    print(f"\nPage: {page}\nCSV: {results}")


def _print_commands(training: Training) -> None:
    """A line for each command that is missing; those of one training follow each other."""
    commands = [] if training.is_trained else [training.train_words()]
    for words in [*commands, *training.decode_words()]:
        print(shlex.join(["zipformer", *words]))


def _with_names_of_searches(study: Study) -> Study:
    """Searches as results name them; one that does not exist is an error now."""
    names = tuple(str(parse_search(name)) for name in study.decode.searches)
    return replace(study, decode=replace(study.decode, searches=names))


def _say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r}: write a number above 0")
    return int(text)
