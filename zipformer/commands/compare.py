"""Compares decoded runs: a Markdown table, a page with WER over latency, and a CSV.

zipformer compare exp/librispeech/* --html compare.html --csv compare.csv
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.evaluation.table import to_markdown, without_constants
from zipformer.files import write_text
from zipformer.report.chart import to_svg_file
from zipformer.report.compare import CONTEXT, check_sets, collect, make_table, to_csv, warnings
from zipformer.report.comparison_page import to_html
from zipformer.report.intervals import interval_table
from zipformer.report.wer_chart import wer_chart


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    parser.add_argument("exp_dirs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--sets", help="test sets, separated by commas (default: all)")
    parser.add_argument(
        "--intervals",
        action="store_true",
        help="resample the test sets: intervals of rates and differences",
    )
    parser.add_argument("--html", type=Path, help="default: compare.html beside the first run")
    parser.add_argument("--csv", type=Path, help="default: compare.csv beside the first run")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="the plot alone, for pages")
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="folder for the plot as PDF and PNG"
    )


def run(args: Namespace) -> None:
    """Prints the table, and writes the page and the CSV."""
    if args.figures:
        from zipformer.report.figures import write_figures  # refuses to go on without matplotlib
    entries = collect(args.exp_dirs, args.sets.split(",") if args.sets else None)
    check_sets(entries)
    print(to_markdown(make_table(entries)))
    if args.intervals:
        table, same = without_constants(interval_table(entries), keep=["run", CONTEXT])
        shared = "; ".join(f"{name} {value}" for name, value in same.items())
        print(f"\n95 % intervals over utterances drawn anew ({shared})\n\n{to_markdown(table)}")
    for text in warnings(entries):
        print(f"\nWARNING: {text}")
    beside = args.exp_dirs[0].resolve().parent
    html = args.html or beside / "compare.html"
    csv = args.csv or beside / "compare.csv"
    for path, content in ((html, to_html(entries)), (csv, to_csv(entries))):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, content)
    print(f"\nPage with the plot: {html}\nCSV: {csv}")
    if args.svg:
        chart = wer_chart(entries, short_labels=True)
        write_text(args.svg, to_svg_file("Word error rate over latency", [chart]))
        print(f"Plot: {args.svg}")
    if args.figures:
        write_figures({"wer-over-latency": [wer_chart(entries, short_labels=True)]}, args.figures)
        print(f"Figures: {args.figures}")
