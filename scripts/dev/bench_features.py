"""Feature extraction on one core, against lhotse's own, in one run.

    python scripts/dev/bench_features.py [--cuts MANIFEST] [--minutes 10] [--rounds 3]

Extraction alone (samples to features), and the whole way from audio files to stored features
(``local/compute_fbank.py`` against lhotse's ``compute_and_store_features``). Both use the same
storage; rounds alternate, and the best of each counts. Without a manifest: the four utterances of
the tests, over and over.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import torch
from lhotse import CutSet, Fbank, MonoCut, Recording
from lhotse.features.io import get_writer
from lhotse.utils import fastcopy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.compute_fbank import Settings, compute
from local.lib.feature_chunks import default_storage
from zipformer.data.features import make_extractor
from zipformer.data.manifests import open_cuts

ASSETS = Path(__file__).resolve().parents[2] / "tests" / "assets" / "librispeech"


def read_cuts(manifest: Path | None, minutes: float) -> list[MonoCut]:
    """About so many minutes of cuts, repeated if there are not enough."""
    if manifest:
        pool = [cut.drop_features() for cut in open_cuts(manifest)]
    else:
        pool = [Recording.from_file(path).to_cut() for path in sorted(ASSETS.rglob("*.flac"))]
    cuts: list[MonoCut] = []
    for cut in cycle(pool):
        if sum(c.duration for c in cuts) >= 60 * minutes:
            return cuts
        cuts.append(fastcopy(cut, id=f"{cut.id}-{len(cuts)}"))
    raise SystemExit("error: no cuts")


def extracting(cuts: list[MonoCut], extractor: Fbank) -> Callable[[], object]:
    audio = [cut.load_audio() for cut in cuts]
    return lambda: [extractor.extract(samples, 16000) for samples in audio]


def ours(cuts: Path, storage: str, folder: Path) -> object:
    return compute(Settings(cuts, folder / "fbank.jsonl.gz", folder / "feats", storage))


def lhotses(cuts: Path, storage: str, folder: Path) -> object:
    made = (
        open_cuts(cuts)
        .to_eager()
        .compute_and_store_features(
            Fbank(),
            str(folder / "feats"),
            storage_type=get_writer(storage),
            progress_bar=False,
        )
    )
    made.to_file(folder / "fbank.jsonl.gz")
    return made


def in_folder(work: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work(Path(folder))


def compare(
    title: str, seconds: float, rounds: int, a: Callable[[], object], b: Callable[[], object]
) -> None:
    """Prints how many times faster than real time both are."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for which, work in enumerate((a, b)):
            start = time.process_time()
            work()
            best[which] = min(best[which], time.process_time() - start)
    mine, theirs = (seconds / b for b in best)
    print(f"{title}: {mine:.0f} x real time, lhotse {theirs:.0f}, ratio {mine / theirs:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=Path, help="cuts manifest with audio")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--storage", default=default_storage())
    args = parser.parse_args()
    torch.set_num_threads(1)
    cuts = read_cuts(args.cuts, args.minutes)
    seconds = sum(cut.duration for cut in cuts)
    print(f"{len(cuts)} cuts, {seconds / 60:.1f} minutes, one core, {args.storage}")
    compare(
        "extraction alone",
        seconds,
        args.rounds,
        extracting(cuts, make_extractor()),
        extracting(cuts, Fbank()),
    )
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "cuts.jsonl.gz"
        CutSet.from_cuts(cuts).to_file(manifest)
        compare(
            "audio files to stored features",
            seconds,
            args.rounds,
            lambda: in_folder(lambda folder: ours(manifest, args.storage, folder)),
            lambda: in_folder(lambda folder: lhotses(manifest, args.storage, folder)),
        )


if __name__ == "__main__":
    main()
