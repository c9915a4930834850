"""Cuts for features on the fly: no features, resampled when they are read, shuffled on request."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.manifest_lines import line_of, new_manifest, order, read_lines
from zipformer.data.manifests import cut_of_line


def copy(cuts: Path, out: Path, sample_rate: int = 16000, shuffle_seed: int | None = None) -> int:
    """Writes the cuts of a manifest to another one; returns how many there are.

    Args:
        cuts: Manifest that goes in.
        out: Manifest that comes out.
        sample_rate: Cuts of another one are marked to be resampled when they are read.
        shuffle_seed: Draws the order, if given.

    Raises:
        FileNotFoundError: If there is no manifest ``cuts``.
    """
    lines = read_lines(cuts)
    with new_manifest(out) as file:
        for index in order(len(lines), shuffle_seed):
            cut = cut_of_line(lines[index]).drop_features()
            if cut.sampling_rate != sample_rate:
                cut = cut.resample(sample_rate)
            file.write(line_of(cut))
    return len(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="cuts manifests")
    parser.add_argument(
        "--plain-cuts", type=Path, nargs="*", default=[], help="more, not shuffled (test sets)"
    )
    parser.add_argument("--out-dir", type=Path, required=True, help="for manifests of their names")
    parser.add_argument("--sample-rate", type=int, default=16000)
    parser.add_argument("--shuffle-seed", type=int, help="shuffle the cuts (training sets)")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line_errors(args.out_dir):
        for cuts in [*args.cuts, *args.plain_cuts]:
            seed = args.shuffle_seed if cuts in args.cuts else None
            count = copy(cuts, args.out_dir / cuts.name, args.sample_rate, seed)
            print(f"{args.out_dir / cuts.name}: {count} cuts without features")


if __name__ == "__main__":
    main()
