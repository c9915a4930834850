"""Cuts of noise, for training to mix in, out of a folder of audio files such as MUSAN."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lhotse import MonoCut, Recording

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.audio_files import SUFFIXES, Utterance, decode_all
from local.lib.errors import one_line_errors
from local.lib.manifest_lines import write_items
from local.lib.skipped import check_share, skipped_beside, summary, write_skipped


def find_audio(folder: Path) -> list[Utterance]:
    """The audio files in a folder and all below, named by their paths in it.

    Names have dashes and no suffix, except where two would be the same.

    Raises:
        FileNotFoundError: If there is no such folder, or no audio in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of noise {folder} not found")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder} holds no audio ({', '.join(SUFFIXES)})")
    paths = [path.relative_to(folder) for path in files]
    names = [str(path.with_suffix("")).replace("/", "-") for path in paths]
    count = Counter(names)
    return [
        Utterance(name if count[name] == 1 else str(path), file, "")
        for name, path, file in zip(names, paths, files, strict=True)
    ]


def windows(recording: Recording, prefix: str, seconds: float) -> Iterator[MonoCut]:
    """Consecutive pieces of ``seconds``; the rest is one of them if it lasts half as long."""
    start = 0.0
    while recording.duration - start >= min(seconds / 2, recording.duration):
        yield MonoCut(
            id=f"{prefix}-{recording.id}-{round(start)}",
            start=start,
            duration=round(min(seconds, recording.duration - start), 6),
            channel=0,
            recording=recording,
        )
        start += seconds


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audio-dir", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="of every cut")
    parser.add_argument("--prefix", default="noise", help="of the cut ids")
    parser.add_argument("--out", type=Path, required=True, help="cuts manifest to write")
    parser.add_argument("--num-jobs", type=int, default=2)
    parser.add_argument("--max-bad-share", type=float, default=0.01, help="of files left out")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line_errors(args.out.parent):
        files = find_audio(args.audio_dir)
        good, skipped = decode_all(files, args.num_jobs, args.audio_dir.name)
        check_share(str(args.audio_dir), skipped, len(files), args.max_bad_share)
        cuts = [
            cut for _, recording in good for cut in windows(recording, args.prefix, args.seconds)
        ]
        write_items(args.out, cuts)
        write_skipped(skipped_beside(args.out), skipped)
        hours = sum(cut.duration for cut in cuts) / 3600
        print(f"{args.out}: {len(cuts)} cuts, {hours:.2f} hours of {len(good)} files")
        for line in summary(skipped):
            print(f"  {line}")


if __name__ == "__main__":
    main()
