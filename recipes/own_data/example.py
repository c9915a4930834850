"""Recordings to try the recipe with, if you have none: digits, said across a room.

python recipes/own_data/example.py --out data/my_recordings

A folder with a FLAC file for each utterance and the table ``corpus.tsv``. The voices and words are
those of recipes/digits; the room is new to every model that was trained there: an echo that dies
away in a second, and the hum and hiss of what runs in it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from recipes.digits.make_strings import Style, build_strings
from recipes.digits.segments import read_table

SEGMENTS = Path(__file__).resolve().parents[1] / "digits" / "fsdd" / "segments.tsv"
WORDS = "zero,one,two,three,four,five,six,seven,eight,nine".split(",")
TAKES = {"train": range(10, 50), "valid": range(5, 10), "test": range(5)}  # as in recipes/digits
RATE = 16000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--train", type=int, default=240, help="utterances to train with")
    parser.add_argument("--valid", type=int, default=40)
    parser.add_argument("--test", type=int, default=120)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    with one_line_errors(args.out):
        write_corpus(args.out, {name: getattr(args, name) for name in TAKES}, args.seed)


def write_corpus(out: Path, counts: dict[str, int], seed: int) -> None:
    """Writes so many utterances of each set, and the table."""
    segments = read_table(SEGMENTS, WORDS)
    rng = np.random.default_rng(seed)
    rows, seconds = [], 0.0
    for name, takes in TAKES.items():
        chosen = [segment for segment in segments if segment.take in takes]
        for cut in build_strings(chosen, counts[name], out / name, name, Style(), seed, RATE):
            audio = Path(cut.recording.sources[0].source)
            soundfile.write(audio, across_room(soundfile.read(audio)[0], rng), RATE)
            said = cut.supervisions[0]
            rows.append([str(Path(name) / audio.name), said.text, said.speaker, name])
            seconds += cut.duration
    with open(out / "corpus.tsv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerows([["audio", "text", "speaker", "split"], *rows])
    print(f"{out}: {len(rows)} recordings, {seconds / 60:.1f} minutes; the table is corpus.tsv")


def across_room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) samples as a microphone at the other end of a room hears them: (N,)."""
    time = np.arange(round(0.8 * RATE)) / RATE
    fade = 10 ** (-3 * time / rng.uniform(0.5, 1.0))  # 60 dB in so many seconds
    echo = rng.standard_normal(len(time)) * fade
    echo *= rng.uniform(1.0, 2.0) / np.sqrt(np.sum(echo**2))  # over the voice itself
    echo[0] += 1
    size = len(samples) + len(echo)
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)[: len(samples)]
    hum = np.sin(2 * np.pi * 50 * np.arange(len(samples)) / RATE)
    noise = rng.standard_normal(len(samples)) + hum
    heard += noise * np.sqrt(np.mean(heard**2) / np.mean(noise**2)) / rng.uniform(3, 10)
    return 0.3 * heard / np.abs(heard).max()


if __name__ == "__main__":
    main()
