"""Whether two trainings differ in what they hear, or only in which words the test set happened on.

    python recipes/digits/significance.py --cuts data/fbank/digits_cuts_test.jsonl.gz \\
        --a exp/digits/unified/decode/NAME ... --b exp/digits/no_right/decode/NAME ...

Several folders on one side are seeds of one training; their errors are averaged. A test set of
4,000 words is strung together from 300 recordings, so its words are not independent: what is drawn
anew, with replacement, are the recordings of each speaker, with all their occurrences. The speakers
stay, as there are six of them and all were heard in training: nothing is said about other people.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from zipformer.evaluation import resampling
from zipformer.evaluation.resampling import Difference, Unit
from zipformer.evaluation.results import RECOGNIZED, read_recognized
from zipformer.evaluation.scoring import Utterance


def read_result(folder: Path, recordings: dict[str, list[Unit]]) -> list[Utterance]:
    """What was heard.

    Raises:
        ValueError: If the result is on other utterances than the manifest's.
    """
    utterances = read_recognized(folder / RECOGNIZED)
    if {u.cut_id for u in utterances} != set(recordings):
        raise ValueError(f"{folder} is a result on other cuts than those of the manifest")
    return utterances


def read_recordings(manifest: Path) -> dict[str, list[Unit]]:
    """Which recordings every cut is strung together from: speaker, word and take."""
    found: dict[str, list[Unit]] = {}
    for cut in CutSet.from_file(manifest):
        said = cut.supervisions[0]
        if not cut.custom or "takes" not in cut.custom:
            raise ValueError(f"{manifest}: cut {cut.id} does not say which takes it is made of")
        takes = zip(said.text.split(), cut.custom["takes"], strict=True)
        found[cut.id] = [(said.speaker, word, take) for word, take in takes]
    return found


def compare(
    a: Sequence[Path], b: Sequence[Path], manifest: Path, draws: int = 10000, seed: int = 0
) -> Difference:
    """The difference of two sides, resampled over recordings within speakers."""
    recordings = read_recordings(manifest)
    sides = [[read_result(folder, recordings) for folder in side] for side in (a, b)]
    return resampling.compare(sides[0], sides[1], recordings, draws, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=Path, required=True, help="manifest of the test set")
    parser.add_argument("--a", type=Path, nargs="+", required=True, help="folders of results")
    parser.add_argument("--b", type=Path, nargs="+", required=True, help="folders of results")
    parser.add_argument("--draws", type=int, default=10000, help="resampled test sets")
    args = parser.parse_args()
    with one_line_errors(args.cuts):
        print(compare(args.a, args.b, args.cuts, args.draws))


if __name__ == "__main__":
    main()
