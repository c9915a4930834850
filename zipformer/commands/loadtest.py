"""Calls a live server many times at once: latency, real-time factor, words lost, WER under load.

zipformer loadtest ws://localhost:6006 --concurrency 1 10 50 100 \\
    --audio recipes/digits/data/fbank/digits_cuts_test.jsonl.gz --label "right 64" --out load
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.data.manifests import read_cuts
from zipformer.evaluation.table import to_markdown
from zipformer.report.load_chart import load_charts
from zipformer.report.load_test import collect_levels, crossed_table, level_table
from zipformer.serving.load import Plan, lone_texts, read_clips, run_level, summarize


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    asyncio.run(run(read_arguments(argv, prog, __doc__, add_arguments)))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    parser.add_argument(
        "uri",
        nargs="+",
        help="of a server that speaks sherpa-onnx's protocol; calls go to each in turn, as in "
        "ws://localhost:6006/?right=0 ws://localhost:6006/?right=64",
    )
    parser.add_argument("--audio", type=Path, required=True, help="manifest of cuts to say")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1], help="calls at a time")
    parser.add_argument("--calls", type=int, help="per level (default: twice as many, 20+)")
    parser.add_argument("--limit", type=int, help="only the first so many cuts, said in turn")
    parser.add_argument("--pace", choices=["realtime", "fast"], default="realtime")
    parser.add_argument("--tail-seconds", type=float, default=0.0, help="silence after the audio")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds beyond the audio")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the first calls")
    parser.add_argument("--label", default="server", help="what is served, as in 'right 64'")
    parser.add_argument("--out", type=Path, help="folder that collects runs of several labels")
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="folder for the plot as PDF and PNG"
    )


async def run(args: Namespace) -> None:
    """Calls at each level of concurrency, and prints tables."""
    if args.figures:
        from zipformer.report.figures import write_figures  # refuses to go on without matplotlib
    calls = {n: max(n, args.calls or max(2 * n, 20)) for n in args.concurrency}
    clips = read_clips(read_cuts(args.audio), min(max(calls.values()), args.limit or sys.maxsize))
    plan = Plan(tuple(args.uri), args.pace, args.tail_seconds, args.timeout, args.seed)
    lone = await lone_texts(plan, clips)
    levels = []
    for count in args.concurrency:
        outcomes, seconds = await run_level(plan, clips, count, calls[count])
        levels.append(summarize(args.label, count, args.pace, outcomes, lone, seconds))
        done = levels[-1]
        lost = f"{done.words_lost} words lost, {done.failed} of {done.calls} calls failed"
        print(f"{count} at once: {lost} {done.error}", file=sys.stderr)
    if args.out:
        levels = collect_levels(args.out, levels)
    print(to_markdown(level_table(levels)))
    print(f"\n{to_markdown(crossed_table(levels))}")
    if args.figures:
        write_figures({"load": load_charts(levels)}, args.figures)
        print(f"\nFigures: {args.figures}")
    print(f"\nThe first calls begin at random within {plan.spread(clips):.1f} s.")
