"""Decodes test sets with a trained model at one or several contexts, and scores the words.

zipformer decode exp/digits --epoch 30 --avg 9 --contexts "full 32/256/0 32/256/64"
zipformer decode exp/digits --epoch auto --right 64     # picked on the validation sets
"""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args, get_type_hints

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import (
    add_hotwords_options,
    add_search_options,
    search_of,
)
from zipformer.config import ScoringConfig
from zipformer.evaluation.evaluate import evaluate
from zipformer.evaluation.groups import errors_by_group, group_table, groups_of, write_groups
from zipformer.evaluation.results import LIVE, Result
from zipformer.evaluation.table import to_markdown
from zipformer.evaluation.test_sets import choose_sets
from zipformer.report.compare import Entry, make_table

NO_NAME = r"[^A-Za-z0-9-]+"  # what names of files are kept free of


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
    parser.add_argument(
        "--by",
        metavar="FIELD",
        help="a table of error rates by what the cuts say as well: language, speaker, gender, or "
        "a field of the corpus's own",
    )
    parser.add_argument("--out", type=Path, help="folder for results (default: decode in the run)")
    parser.add_argument("--max-duration", type=float, help="seconds of audio in a batch")
    add_search_options(parser)
    add_hotwords_options(parser)


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
    groups = {name: groups_of(path, args.by) for name, path in sets.items() if args.by}
    search = search_of(args, loaded.model, loaded.tokenizer)
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
                if result.hotwords is not None:
                    print(f"  [{name}, {mode}] {result.hotwords}", flush=True)
    folder = args.out or run / "decode"
    print(f"\n{to_markdown(make_table(entries))}")
    if args.by:
        _print_groups(args.by, [entry.result for entry in entries], folder, groups)
    print(f"\nFiles in {folder}")


def _print_groups(
    field: str, results: Sequence[Result], folder: Path, groups: Mapping[str, Mapping[str, str]]
) -> None:
    found = [
        one for result in results for one in errors_by_group(result, folder, groups[result.set])
    ]
    path = folder / f"by_{re.sub(NO_NAME, '_', field)}.csv"
    write_groups(path, field, found)
    table, more = group_table(field, found)
    print(f"\n{to_markdown(table)}")
    if more:
        print(f"and {more} more in {path}")
