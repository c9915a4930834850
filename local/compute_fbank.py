"""Computes filter bank features once, so that training only reads them.

In go cuts (or recordings and supervisions), out come cuts with stored features. Audio of another
sample rate is resampled; speed-perturbed copies are made on request; unreadable audio and empty
cuts are skipped and counted, and too many of them are an error. The work is done in chunks: what is
finished when it is interrupted stays finished, and a manifest that was made of the same cuts with
the same settings is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet, RecordingSet, SupervisionSet
from lhotse.features.io import available_storage_backends

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.feature_chunks import (
    Settings,
    begin,
    check_room,
    default_storage,
    fingerprint,
    is_finished,
    mark_finished,
    plan,
    process_all,
)
from local.lib.manifest_lines import new_manifest, read_lines
from local.lib.segments import within_recordings
from local.lib.skipped import (
    Skipped,
    check_share,
    listing,
    read_skipped,
    skipped_beside,
    summary,
    write_skipped,
)
from zipformer.data.manifests import check_manifest, count_cuts, naming_damaged

__all__ = ["Settings", "compute", "cuts_of_recordings"]


def compute(
    settings: Settings,
    num_jobs: int = 1,
    max_bad_share: float = 0.01,
    shuffle_seed: int | None = None,
    redo: bool = False,
) -> list[Skipped]:
    """Stores the features of all cuts and writes ``settings.out``.

    Args:
        settings: Input, output and kind of features.
        num_jobs: Processes.
        max_bad_share: Share of cuts that may be skipped.
        shuffle_seed: If given, the order of the cuts and their copies is drawn from it (training
            manifests are read in order, through a buffer); else they keep theirs. Features lie on
            disk in the order of the manifest.
        redo: Compute what is there already.

    Returns:
        What was skipped.

    Raises:
        ValueError: If more cuts were skipped than allowed, or the disk is too small; there is no
            manifest then.
    """
    lines = read_lines(settings.cuts)
    made_of = fingerprint(lines, settings, shuffle_seed)
    if not redo and is_finished(settings, made_of):
        return read_skipped(skipped_beside(settings.out))
    check_room([settings])
    begin(settings, made_of, redo)
    chunks = plan(lines, settings.speed_factors, num_jobs, shuffle_seed)
    skipped = process_all(settings, chunks, num_jobs)
    if len(skipped) > max_bad_share * len(lines):
        raise ValueError(
            f"{settings.cuts}: {len(skipped)} of {len(lines)} cuts gave no features, more than "
            f"--max-bad-share {max_bad_share} allows. {listing(skipped)}"
        )
    write_skipped(skipped_beside(settings.out), skipped)
    _join([settings.manifest_of(chunk) for chunk in chunks], settings.out)
    mark_finished(settings, made_of)
    return skipped


def _join(parts: Sequence[Path], out: Path) -> None:
    with new_manifest(out) as file:
        for part in parts:
            file.writelines(read_lines(part))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="cuts manifests")
    parser.add_argument(
        "--plain-cuts",
        type=Path,
        nargs="*",
        default=[],
        help="more of them, without copies and in their order (test sets)",
    )
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
    parser.add_argument("--force", action="store_true", help="compute what is there already")
    args = parser.parse_args()
    if bool(args.cuts or args.plain_cuts) == bool(args.recordings):
        parser.error("give either --cuts or --recordings (with --supervisions)")
    return args


def cuts_of_recordings(
    recordings: Path, supervisions: Path | None, out_dir: Path, max_bad_share: float = 0.01
) -> Path:
    """Writes the cuts of two older manifests into ``out_dir``: one cut per supervision.

    Raises:
        ValueError: If too many supervisions do not lie within their recordings.
    """
    for path in filter(None, (recordings, supervisions)):
        check_manifest(path)
    path = out_dir / "raw" / recordings.name.replace("recordings", "cuts")
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming_damaged(recordings, "recordings"):
        audio = RecordingSet.from_file(recordings).to_eager()
        by_id = {recording.id: recording for recording in audio}
    if supervisions is None:
        CutSet.from_manifests(audio).to_file(path)
        return path
    with naming_damaged(supervisions, "supervisions"):
        good, skipped = within_recordings(SupervisionSet.from_file(supervisions), by_id)
    for line in summary(skipped):
        print(f"{supervisions}: {line}")
    write_skipped(skipped_beside(path), skipped)
    check_share(str(supervisions), skipped, len(good) + len(skipped), max_bad_share)
    cuts = CutSet.from_manifests(audio, SupervisionSet.from_segments(good))
    cuts.trim_to_supervisions(keep_overlapping=False, keep_all_channels=False).to_file(path)
    return path


def main() -> None:
    args = parse_args()
    with one_line_errors(args.out_dir):
        train, plain = args.cuts, args.plain_cuts
        if args.recordings:
            train = [
                cuts_of_recordings(
                    args.recordings, args.supervisions, args.out_dir, args.max_bad_share
                )
            ]
        factors = tuple(float(factor) for factor in args.speed_factors.split(","))
        wanted = [
            Settings(
                cuts=cuts,
                out=args.out_dir / cuts.name,
                storage_dir=args.out_dir / "feats" / cuts.name.split(".")[0],
                storage=args.storage,
                speed_factors=factors if cuts in train else (1.0,),
                sample_rate=args.sample_rate,
                num_features=args.num_features,
            )
            for cuts in [*train, *plain]
        ]
        check_room(wanted)
        for settings in wanted:
            seed = args.shuffle_seed if settings.cuts in train else None
            skipped = compute(settings, args.num_jobs, args.max_bad_share, seed, args.force)
            report(settings, skipped)


def report(settings: Settings, skipped: list[Skipped]) -> None:
    print(f"{settings.out}: features of {count_cuts(settings.out)} cuts, {len(skipped)} skipped")
    for line in summary(skipped):
        print(f"  {line}")


if __name__ == "__main__":
    main()
