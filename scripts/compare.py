"""Compares decoded runs: a Markdown table, a page with WER over latency, and a CSV.

python scripts/compare.py exp/librispeech/* --html compare.html --csv compare.csv
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from zipformer.commands.options import for_people
from zipformer.evaluation.table import to_markdown
from zipformer.report.compare import check_sets, collect, make_table, to_csv, warnings
from zipformer.report.comparison_page import to_html


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exp_dirs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--sets", help="test sets, separated by commas (default: all)")
    parser.add_argument("--html", type=Path, help="default: compare.html beside the first run")
    parser.add_argument("--csv", type=Path, help="default: compare.csv beside the first run")
    args = parser.parse_args()
    with for_people():
        entries = collect(args.exp_dirs, args.sets.split(",") if args.sets else None)
        check_sets(entries)
        print(to_markdown(make_table(entries)))
        for text in warnings(entries):
            print(f"\nWARNING: {text}")
        beside = args.exp_dirs[0].resolve().parent
        html, csv = args.html or beside / "compare.html", args.csv or beside / "compare.csv"
        for path, content in ((html, to_html(entries)), (csv, to_csv(entries))):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        print(f"\nPage with the plot: {html}\nCSV: {csv}")


if __name__ == "__main__":
    main()
