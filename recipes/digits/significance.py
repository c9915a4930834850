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
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lhotse import CutSet

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from zipformer.evaluation.results import RECOGNIZED, read_recognized
from zipformer.evaluation.scoring import GAP, Utterance

Recording = tuple[str, str, int]  # speaker, word, take


@dataclass(frozen=True)
class Difference:
    """Word error rates of two sides in percent, and the interval of their difference.

    Args:
        a, b: Of the whole set.
        low, high: Of ``a - b``, between which 95 % of the resampled sets lie.
    """

    a: float
    b: float
    low: float
    high: float

    def __str__(self) -> str:
        clear = "significant" if self.low > 0 or self.high < 0 else "not significant"
        return (
            f"{self.a:.2f} % against {self.b:.2f} %: {self.a - self.b:+.2f} "
            f"[{self.low:+.2f}, {self.high:+.2f}], {clear}"
        )


def errors_of_words(utterance: Utterance) -> np.ndarray:
    """(words,) errors at each word that was said; an insertion counts at the word before it."""
    errors = np.zeros(len(utterance.reference))
    word = -1
    for said, heard in utterance.alignment():
        word += said != GAP
        errors[max(word, 0)] += said != heard
    return errors


def read_errors(folder: Path, recordings: dict[str, list[Recording]]) -> dict[Recording, float]:
    """Errors at each recording, added up over its occurrences.

    Raises:
        ValueError: If the result is on other utterances than the manifest's.
    """
    errors: dict[Recording, float] = defaultdict(float)
    utterances = read_recognized(folder / RECOGNIZED)
    if {u.cut_id for u in utterances} != set(recordings):
        raise ValueError(f"{folder} is a result on other cuts than those of the manifest")
    for utterance in utterances:
        words = recordings[utterance.cut_id]
        for recording, count in zip(words, errors_of_words(utterance), strict=True):
            errors[recording] += count
    return errors


def read_recordings(manifest: Path) -> dict[str, list[Recording]]:
    """Which recordings every cut is strung together from."""
    found = {}
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
    occurrences: dict[Recording, int] = defaultdict(int)
    for words in recordings.values():
        for recording in words:
            occurrences[recording] += 1
    units = sorted(occurrences)
    counts = np.array([occurrences[unit] for unit in units])
    sides = []
    for side in (a, b):
        seeds = [read_errors(folder, recordings) for folder in side]
        sides.append(np.array([np.mean([e[unit] for e in seeds]) for unit in units]))
    apart = sides[0] - sides[1]
    rng = np.random.default_rng(seed)
    weights = np.zeros((draws, len(units)))
    for speaker in sorted({unit[0] for unit in units}):
        own = [i for i, unit in enumerate(units) if unit[0] == speaker]
        weights[:, own] = rng.multinomial(len(own), [1 / len(own)] * len(own), size=draws)
    resampled = 100 * (weights @ apart) / (weights @ counts)
    low, high = np.quantile(resampled, [0.025, 0.975])
    rate_a, rate_b = (100 * float(side.sum() / counts.sum()) for side in sides)
    return Difference(rate_a, rate_b, float(low), float(high))


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
