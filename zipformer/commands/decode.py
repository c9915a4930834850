"""Decodes test sets with a trained model at one or several contexts, and scores the words.

zipformer decode exp/digits --epoch 30 --avg 9 --contexts "full 32/256/0 32/256/64"
zipformer decode exp/digits --epoch auto --right 64     # picked on the validation sets
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args, get_type_hints

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import add_search_options, search_of
from zipformer.config import ScoringConfig
from zipformer.evaluation.evaluate import evaluate
from zipformer.evaluation.results import LIVE
from zipformer.evaluation.table import to_markdown
from zipformer.evaluation.test_sets import choose_sets
from zipformer.report.compare import Entry, make_table


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    options.add_model_options(parser)
    options.add_context_options(parser)
    parser.add_argument("--contexts", help="several, as in 'full 32/256/0 32/256/64'")
    options.add_mode_options(parser)
    parser.add_argument("--sets", help="names in the run's config, or name=manifest (default: all)")
    parser.add_argument(
        "--unit",
        choices=get_args(get_type_hints(ScoringConfig)["unit"]),
        help="what is scored, in place of scoring.unit of the run's config",
    )
    parser.add_argument("--out", type=Path, help="folder for results (default: decode in the run)")
    parser.add_argument("--max-duration", type=float, help="seconds of audio in a batch")
    add_search_options(parser)


def run(args: Namespace) -> None:
    """Decodes every set at every context and in every mode, and prints the scores."""
    loaded = options.load(args, sys.stdout)
    if args.unit:
        scoring = replace(loaded.config.scoring, unit=args.unit)
        loaded = replace(loaded, config=replace(loaded.config, scoring=scoring))
    contexts = choose_contexts(loaded.config, args.contexts, args.chunk, args.left, args.right)
    sets = choose_sets(loaded.config, args.sets)
    for context, mode in product(contexts, args.right_mode):
        loaded.check_context(context, live=mode in LIVE)
    search = search_of(args, loaded.model)
    run = loaded.path.resolve().parent
    print(f"{loaded.label} of {run}, {loaded.steps} training steps")
    entries = []
    for context in contexts:
        print(f"context {context}: {context.describe()}")
        for mode in args.right_mode:
            for name, path in sets.items():
                result = evaluate(
                    loaded,
                    path,
                    name,
                    context,
                    right_mode=mode,
                    search=search,
                    max_duration=args.max_duration,
                    decode_dir=args.out,
                    chosen=args.chosen,
                )
                entries.append(Entry(run.name, result, path))
                rate = f"{result.rate_name} {result.errors}"
                print(f"  [{name}, {mode}] {rate}, RTF {result.rtf:.4f}", flush=True)
    print(f"\n{to_markdown(make_table(entries))}\n\nFiles in {args.out or run / 'decode'}")
