"""Computes filter bank features once, so that training only reads them.

In go cuts (or recordings and supervisions), out come cuts with stored features. Audio of another
sample rate is resampled; speed-perturbed copies are made on request; unreadable audio and empty
cuts are skipped and counted, and too many of them are an error.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from lhotse import CutSet, Fbank, Features, RecordingSet, SupervisionSet
from lhotse.cut import MonoCut
from lhotse.features.io import FeaturesWriter, available_storage_backends, get_writer
from lhotse.utils import fastcopy

from zipformer.data.features import MIN_SAMPLES, make_extractor
from zipformer.data.manifests import UNREADABLE, check_manifest, count_cuts, open_cuts, source_of

SHOWN = 5  # skipped cuts that are printed


@dataclass(frozen=True)
class Settings:
    """What to compute and where to put it."""

    cuts: Path
    out: Path
    storage_dir: Path
    storage: str = "numpy_files"
    speed_factors: tuple[float, ...] = (1.0,)
    sample_rate: int = 16000
    num_features: int = 80


@dataclass(frozen=True)
class Skipped:
    """A cut that gave no features."""

    cut_id: str
    source: str
    reason: str


def compute(
    settings: Settings,
    num_jobs: int = 1,
    max_bad_share: float = 0.01,
    shuffle_seed: int | None = None,
) -> list[Skipped]:
    """Stores the features of all cuts and writes ``settings.out``.

    Args:
        settings: Input, output and kind of features.
        num_jobs: Processes, each with a contiguous part of the cuts.
        max_bad_share: Share of cuts that may be skipped.
        shuffle_seed: If given, the order of the cuts is drawn from it (training manifests are read
            in order, through a buffer); else they keep theirs.

    Returns:
        What was skipped.

    Raises:
        ValueError: If more cuts were skipped than allowed; nothing is written then.
    """
    total = count_cuts(settings.cuts)
    size = -(-total // max(num_jobs, 1)) or 1
    ranges = [(i, min(i + size, total)) for i in range(0, total, size)]
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.storage_dir.mkdir(parents=True, exist_ok=True)
    work = partial(process, settings)
    if len(ranges) == 1:
        skipped = work(0, ranges[0])
    else:
        with ProcessPoolExecutor(len(ranges)) as pool:
            skipped = sum(pool.map(work, range(len(ranges)), ranges), [])
    parts = [_part(settings.out, job) for job in range(len(ranges))]
    try:
        if len(skipped) > max_bad_share * total:
            raise ValueError(
                f"{settings.cuts}: {len(skipped)} of {total} cuts gave no features, more than "
                f"--max-bad-share {max_bad_share} allows. {_listing(skipped)}"
            )
        _merge(parts, settings.out, shuffle_seed)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return skipped


def process(settings: Settings, job: int, cut_range: tuple[int, int]) -> list[Skipped]:
    """Computes and stores the features of a range of cuts, in a process of its own."""
    torch.set_num_threads(1)
    extractor = make_extractor(settings.sample_rate, settings.num_features)
    skipped = []
    with (
        get_writer(settings.storage)(settings.storage_dir / f"feats-{job}") as storage,
        CutSet.open_writer(_part(settings.out, job), overwrite=True) as manifest,
    ):
        for cut in islice(open_cuts(settings.cuts), *cut_range):
            try:
                for copy in _with_features(cut, settings, extractor, storage):
                    manifest.write(copy)
            except _Skip as skip:
                skipped.append(Skipped(cut.id, source_of(cut), str(skip)))
    return skipped


class _Skip(Exception):
    """Why a cut gives no features."""


def _with_features(
    cut: MonoCut, settings: Settings, extractor: Fbank, storage: FeaturesWriter
) -> list[MonoCut]:
    """The cut at every speed, or ``_Skip``."""
    cut = cut.drop_features()
    if cut.sampling_rate != settings.sample_rate:
        cut = cut.resample(settings.sample_rate)
    if cut.num_samples < MIN_SAMPLES:
        raise _Skip(f"{cut.num_samples} samples are too short")
    copies = []
    for factor in settings.speed_factors:
        copy = cut if factor == 1.0 else cut.perturb_speed(factor)
        try:
            samples = copy.load_audio()
        except UNREADABLE as error:
            raise _Skip(f"unreadable ({type(error).__name__})") from error
        if not np.isfinite(samples).all():
            raise _Skip("samples that are not finite numbers")
        features = _store(copy, extractor.extract(samples, copy.sampling_rate), storage)
        copies.append(fastcopy(copy, features=features))
    return copies


def _store(cut: MonoCut, values: np.ndarray, storage: FeaturesWriter) -> Features:
    """Writes (T, F) features under the name of their cut."""
    return Features(
        type=Fbank.name,
        num_frames=values.shape[0],
        num_features=values.shape[1],
        frame_shift=Fbank.config_type().frame_shift,
        sampling_rate=cut.sampling_rate,
        start=cut.start,
        duration=cut.duration,
        channels=cut.channel,
        storage_type=storage.name,
        storage_path=str(Path(storage.storage_path).resolve()),
        storage_key=storage.write(cut.id.replace("/", "_"), values),
    )


def _part(out: Path, job: int) -> Path:
    return out.with_name(f"{out.name.split('.')[0]}.part{job}.jsonl.gz")


def _merge(parts: list[Path], out: Path, shuffle_seed: int | None) -> None:
    lines: list[bytes] = []
    for part in parts:
        with gzip.open(part, "rb") as file:
            lines += [line for line in file if line.strip()]
    if shuffle_seed is not None:
        order = np.random.default_rng(shuffle_seed).permutation(len(lines))
        lines = [lines[i] for i in order]
    partial_out = out.with_name(f"{out.name}.part")
    with gzip.open(partial_out, "wb") as file:
        file.writelines(lines)
    os.replace(partial_out, out)


def _listing(skipped: list[Skipped]) -> str:
    shown = "; ".join(f"{s.cut_id} ({s.source}): {s.reason}" for s in skipped[:SHOWN])
    return f"{shown}; ..." if len(skipped) > SHOWN else shown


def default_storage() -> str:
    """lilcom's compressed archives where lilcom is installed, else one numpy file a cut."""
    return "lilcom_chunky" if "lilcom_chunky" in available_storage_backends() else "numpy_files"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="cuts manifests")
    parser.add_argument("--recordings", type=Path, help="instead of --cuts")
    parser.add_argument("--supervisions", type=Path, help="with --recordings")
    parser.add_argument(
        "--out-dir",
        type=Path,
        required=True,
        help="for the manifests with features, named as those that went in, and the features",
    )
    parser.add_argument(
        "--storage",
        choices=available_storage_backends(),
        default=default_storage(),
        help="numpy_files takes 115 MB an hour; lilcom_chunky (pip install lilcom) a third of it",
    )
    parser.add_argument("--speed-factors", default="1.0", help="copies to make, as in 0.9,1.0,1.1")
    parser.add_argument("--sample-rate", type=int, default=16000)
    parser.add_argument("--num-features", type=int, default=80)
    parser.add_argument("--num-jobs", type=int, default=2)
    parser.add_argument("--max-bad-share", type=float, default=0.01, help="of cuts to be skipped")
    parser.add_argument("--shuffle-seed", type=int, help="shuffle the cuts (training sets)")
    args = parser.parse_args()
    if bool(args.cuts) == bool(args.recordings):
        parser.error("give either --cuts or --recordings (with --supervisions)")
    return args


def cuts_of_recordings(recordings: Path, supervisions: Path | None, out_dir: Path) -> Path:
    """Writes the cuts of two older manifests into ``out_dir``: one cut per supervision."""
    for path in filter(None, (recordings, supervisions)):
        check_manifest(path)
    cuts = CutSet.from_manifests(
        RecordingSet.from_file(recordings),
        SupervisionSet.from_file(supervisions) if supervisions else None,
    )
    if supervisions:
        cuts = cuts.trim_to_supervisions(keep_overlapping=False, keep_all_channels=False)
    path = out_dir / "raw" / recordings.name.replace("recordings", "cuts")
    path.parent.mkdir(parents=True, exist_ok=True)
    cuts.to_file(path)
    return path


def main() -> None:
    args = parse_args()
    manifests = args.cuts
    if args.recordings:
        manifests = [cuts_of_recordings(args.recordings, args.supervisions, args.out_dir)]
    for cuts in manifests:
        settings = Settings(
            cuts=cuts,
            out=args.out_dir / cuts.name,
            storage_dir=args.out_dir / "feats" / cuts.name.split(".")[0],
            storage=args.storage,
            speed_factors=tuple(float(f) for f in args.speed_factors.split(",")),
            sample_rate=args.sample_rate,
            num_features=args.num_features,
        )
        try:
            skipped = compute(settings, args.num_jobs, args.max_bad_share, args.shuffle_seed)
        except (ValueError, FileNotFoundError) as error:
            raise SystemExit(f"compute_fbank: {error}") from None
        report(settings, skipped)


def report(settings: Settings, skipped: list[Skipped]) -> None:
    print(f"{settings.out}: features of {count_cuts(settings.out)} cuts, {len(skipped)} skipped")
    for reason, times in Counter(s.reason for s in skipped).items():
        print(f"  skipped {times}: {reason}")
    if skipped:
        print(f"  {_listing(skipped)}")


if __name__ == "__main__":
    main()
