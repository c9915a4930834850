"""``study --costs``: parameters, operations, time and memory of encoders."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

import torch

from zipformer.commands.parser import VerbParser
from zipformer.context import parse_contexts
from zipformer.evaluation.table import to_markdown
from zipformer.progress import Progress
from zipformer.study.cost_page import cost_table, said_of
from zipformer.study.costs import (
    FULL,
    Cost,
    Encoder,
    at_contexts,
    choose,
    cost_of,
    costs_of,
    encoders_of,
    published_encoders,
    to_json,
    write_costs,
)
from zipformer.study.description import Study
from zipformer.study.measuring import measure

NEEDED = ("json", "measure", "contexts", "encoders")  # say nothing without --costs
BATCH = 30  # utterances, as the literature has it


def add_cost_options(parser: VerbParser) -> None:
    """What ``--costs`` can be asked for."""
    costs = parser.add_argument_group("costs, of a study's runs or of all published sizes")
    costs.add_argument(
        "--costs",
        action="store_true",
        help="parameters and operations for 30 s of audio; without a study of all encoders",
    )
    costs.add_argument("--json", action="store_true", help="print them as JSON")
    costs.add_argument(
        "--contexts", help='as in "full 32/256/0 32/256/64" (default: full, or those of the study)'
    )
    costs.add_argument("--encoders", help='some of them by name, as in "Zipformer-S Conformer-S"')
    costs.add_argument(
        "--measure", action="store_true", help="time and memory as well: slow without a GPU"
    )
    costs.add_argument(
        "--batch",
        type=int,
        default=BATCH,
        help=f"utterances of 30 s that are measured at once (default: {BATCH})",
    )
    costs.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: auto)")


def check_cost_options(args: Namespace) -> None:
    """Refuses what belongs to ``--costs`` without it.

    Raises:
        ValueError: Naming the option.
    """
    if not args.costs:
        if typed := [name for name in NEEDED if getattr(args, name)]:
            raise ValueError(f"--{typed[0]} belongs to --costs: add it, or leave --{typed[0]} out")
        if args.study is None:
            raise ValueError("name the TOML of a study, or write --costs for that of all encoders")
    if args.batch < 1:
        raise ValueError(f"--batch {args.batch}: write a number above 0")


def run_costs(args: Namespace, study: Study | None) -> None:
    """Counts, measures if asked to, and prints; what a study's runs cost is kept for its page."""
    contexts, names = parse_contexts(args.contexts or ""), (args.encoders or "").split()
    batch = args.batch if args.measure else 0
    if study is None:
        costs = _costs(choose(published_encoders(contexts or FULL), names), batch, args.device)
    elif contexts or names:
        costs = _costs(choose(encoders_of(study, contexts), names), batch, args.device)
    elif batch:
        costs = _costs(encoders_of(study), batch, args.device)
        write_costs(study.exp_dir, costs)
    else:
        costs = costs_of(study)
    if args.json:
        print(to_json(costs))
        return
    labels = None if study is None else {run.name: run.label for run in study.runs}
    print(to_markdown(cost_table(costs, labels)))
    if said := said_of([cost.measured for cost in costs if cost.measured]):
        print(f"\n{said}")


def _costs(encoders: Sequence[Encoder], batch: int, device: str) -> list[Cost]:
    """Counted, and measured with a batch of so many utterances if there are any."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    todo = list(at_contexts(encoders))
    costs = []
    with Progress("costs", len(todo), "rows") as progress:
        for encoder, context in todo:
            cost = cost_of(encoder, context)
            if batch:
                try:
                    measured = measure(encoder.config, context, batch, device)
                except MemoryError as error:
                    print(f"WARNING: {encoder.name}: {error}", file=sys.stderr)
                else:
                    cost = replace(cost, measured=measured)
            costs.append(cost)
            progress.add(1)
    return costs
