"""Writes one page about a run: curves, error rates, worst utterances, config and environment.

python scripts/report.py exp/librispeech/medium      # writes report.html there; no network needed
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from zipformer.commands.options import for_people
from zipformer.report import write_report


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exp_dir", type=Path, help="folder of the run")
    parser.add_argument("--html", type=Path, help="default: report.html in that folder")
    parser.add_argument(
        "--worst", type=int, default=10, help="utterances to show of every result (default: 10)"
    )
    args = parser.parse_args()
    with for_people():
        print(f"Page: {write_report(args.exp_dir, args.html, args.worst)}")


if __name__ == "__main__":
    main()
