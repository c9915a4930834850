"""Writes a test set again as if it had been recorded louder or more softly.

    python local/change_level.py --cuts CUTS --gain 0.1 --audio-dir DIR --out CUTS-x0.1

Samples are multiplied, clipped at full scale and rounded to 16 bits, as a recording would be: what
is too loud is cut off, what is too soft is lost. The cuts have no features, so that whoever reads
them computes them from this audio.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from lhotse import MonoCut, Recording
from lhotse.cut import Cut
from lhotse.utils import fastcopy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.feature_chunks import key_of
from local.lib.manifest_lines import write_items
from zipformer.data.audio import cut_samples
from zipformer.data.manifests import read_cuts


def at_level(cuts: Iterable[Cut], gain: float, audio_dir: Path) -> Iterator[tuple[MonoCut, float]]:
    """Yields a copy of every cut at another level, and the share of its samples that clip."""
    audio_dir.mkdir(parents=True, exist_ok=True)
    for cut in cuts:
        samples = gain * cut_samples(cut, cut.sampling_rate)
        name = f"{cut.id}-x{gain:g}"
        path = (audio_dir / f"{key_of(name)}.flac").resolve()
        soundfile.write(path, np.clip(samples, -1, 1), cut.sampling_rate, subtype="PCM_16")
        copy = Recording.from_file(path, recording_id=name).to_cut()
        copy.id, copy.custom = name, {"gain": gain}
        copy.supervisions = [
            fastcopy(s, id=f"{s.id}-x{gain:g}", recording_id=name) for s in cut.supervisions
        ]
        yield copy, float(np.mean(np.abs(samples) >= 1))


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=Path, required=True, help="manifest of the set")
    parser.add_argument("--gain", type=positive, required=True, help="samples are multiplied by it")
    parser.add_argument("--audio-dir", type=Path, required=True, help="for the FLAC files")
    parser.add_argument("--out", type=Path, required=True, help="cuts manifest to write")
    args = parser.parse_args()
    with one_line_errors(args.audio_dir):
        made = list(at_level(read_cuts(args.cuts), args.gain, args.audio_dir))
        write_items(args.out, [cut for cut, _ in made])
    clipped = sum(share for _, share in made) / max(1, len(made))
    print(f"{args.out}: {len(made)} cuts at {args.gain:g} times the level, {clipped:.2%} clipped")


if __name__ == "__main__":
    main()
