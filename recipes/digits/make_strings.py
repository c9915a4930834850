"""Builds spoken strings out of single recorded words: one speaker, random order, natural pauses.

The words come from a table (``--segments``: a TSV with the columns speaker, word, take, and where
the audio is) or from a folder of files (``--recordings`` and ``--pattern``). Every string is
written as FLAC; the manifest holds one cut per string, with its text and the time of every word.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.manifest_lines import write_items
from recipes.digits.segments import Segment, load_word, read_table, scan_folder
from zipformer.progress import shown


@dataclass(frozen=True)
class Style:
    """How strings sound; pairs are ranges to draw from."""

    words: tuple[float, float] = (3, 8)  # words in a string, whole numbers
    pause: tuple[float, float] = (0.05, 0.5)  # seconds between words
    edge: tuple[float, float] = (0.1, 0.4)  # seconds before the first and after the last word
    noise_db: tuple[float, float] = (45.0, 65.0)  # background, decibels below the speech


def deal(segments: list[Segment], rng: np.random.Generator) -> Iterator[Segment]:
    """Shuffled segments for ever: each is dealt once before any is dealt again."""
    while True:
        for index in rng.permutation(len(segments)):
            yield segments[index]


def join_words(
    words: list[np.ndarray], style: Style, rng: np.random.Generator, sample_rate: int
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Words in a row with pauses between them, over a low background noise.

    Returns:
        (N,) float32 samples, and start and duration of every word in seconds.
    """
    gaps = [style.edge] + [style.pause] * (len(words) - 1) + [style.edge]
    silences = [int(rng.uniform(*gap) * sample_rate) for gap in gaps]
    samples = np.zeros(sum(silences) + sum(map(len, words)), dtype=np.float32)
    times, position = [], 0
    for word, silence in zip(words, silences, strict=False):
        position += silence
        samples[position : position + len(word)] = word
        times.append((position / sample_rate, len(word) / sample_rate))
        position += len(word)
    level = np.sqrt(np.mean(np.concatenate(words) ** 2)) * 10 ** (
        -rng.uniform(*style.noise_db) / 20
    )
    samples += level * rng.standard_normal(len(samples), dtype=np.float32)
    return samples / max(1.0, float(np.abs(samples).max()) / 0.99), times


def build_strings(
    segments: list[Segment],
    count: int,
    out_dir: Path,
    prefix: str,
    style: Style,
    seed: int,
    sample_rate: int = 16000,
) -> Iterator[MonoCut]:
    """Writes ``count`` strings and yields their cuts; the speakers take turns.

    The draws depend on ``seed`` and ``prefix`` alone.
    """
    rng = np.random.default_rng([seed, zlib.crc32(prefix.encode())])
    speakers = sorted({s.speaker for s in segments})
    decks = {
        name: deal(sorted((s for s in segments if s.speaker == name), key=_order), rng)
        for name in speakers
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    for index in shown(range(count), prefix, count, "strings"):
        speaker = speakers[index % len(speakers)]
        length = int(rng.integers(int(style.words[0]), int(style.words[1]) + 1))
        dealt = [next(decks[speaker]) for _ in range(length)]
        samples, times = join_words(
            [load_word(s, sample_rate) for s in dealt], style, rng, sample_rate
        )
        cut_id = f"{prefix}-{speaker}-{index:04d}"
        audio = out_dir / f"{cut_id}.flac"
        soundfile.write(audio, samples, sample_rate, subtype="PCM_16")
        cut = string_cut(cut_id, audio, speaker, [s.word for s in dealt], times)
        cut.custom = {"takes": [s.take for s in dealt]}
        yield cut


def _order(segment: Segment) -> tuple[str, int]:
    return segment.word, segment.take


def string_cut(
    cut_id: str, audio: Path, speaker: str, words: list[str], times: list[tuple[float, float]]
) -> MonoCut:
    """The cut of one string, with word times in its supervision."""
    recording = Recording.from_file(audio.resolve(), recording_id=cut_id)
    supervision = SupervisionSegment(
        id=cut_id,
        recording_id=cut_id,
        start=0.0,
        duration=recording.duration,
        text=" ".join(words),
        speaker=speaker,
        alignment={
            "word": [
                AlignmentItem(word, start=round(start, 5), duration=round(duration, 5))
                for word, (start, duration) in zip(words, times, strict=True)
            ]
        },
    )
    cut = recording.to_cut()
    cut.id, cut.supervisions = cut_id, [supervision]
    return cut


def number_range(text: str) -> tuple[int, int]:
    """``3-8`` as (3, 8); ``5`` as (5, 5)."""
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _pair(kind: Callable[[str], float]) -> Callable[[str], tuple[float, float]]:
    def parse(text: str) -> tuple[float, float]:
        low, _, high = text.partition(",")
        return kind(low), kind(high or low)

    return parse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--segments", type=Path, help="TSV of single words")
    source.add_argument("--recordings", type=Path, help="folder with one file per word")
    parser.add_argument("--pattern", default="{digit}_{speaker}_{take}.wav", help="of file names")
    parser.add_argument("--words", default="", help="word of digit 0,1,2,...")
    parser.add_argument(
        "--set",
        nargs=3,
        action="append",
        required=True,
        metavar=("NAME", "TAKES", "COUNT"),
        help="a set to build and the takes it may use, as in: --set test 0-4 200",
    )
    parser.add_argument("--length", type=number_range, default=(3, 8), help="words per string")
    parser.add_argument(
        "--pause", type=_pair(float), default=Style.pause, help="seconds, as in 0.05,0.5"
    )
    parser.add_argument(
        "--edge", type=_pair(float), default=Style.edge, help="seconds at both ends"
    )
    parser.add_argument(
        "--noise-db", type=_pair(float), default=Style.noise_db, help="below speech"
    )
    parser.add_argument("--sample-rate", type=int, default=16000)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument(
        "--prefix", required=True, help="of cut ids and file names: PREFIX_cuts_SET"
    )
    parser.add_argument("--audio-dir", type=Path, required=True)
    parser.add_argument("--out-dir", type=Path, required=True, help="for the cuts manifests")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line_errors(args.audio_dir):
        build_sets(args)


def build_sets(args: argparse.Namespace) -> None:
    """Writes the strings and manifests of all sets on the command line."""
    words = args.words.split(",") if args.words else []
    if args.segments:
        segments = read_table(args.segments, words)
    else:
        segments = scan_folder(args.recordings, args.pattern, words)
    style = Style(args.length, args.pause, args.edge, args.noise_db)
    for name, takes, count in args.set:
        first, last = number_range(takes)
        chosen = [s for s in segments if first <= s.take <= last]
        if not chosen:
            raise ValueError(f"no recordings with takes {takes}")
        cuts = list(
            build_strings(
                chosen,
                int(count),
                args.audio_dir / name,
                f"{args.prefix}-{name}",
                style,
                args.seed,
                args.sample_rate,
            )
        )
        out = args.out_dir / f"{args.prefix}_cuts_{name}.jsonl.gz"
        write_items(out, cuts)
        seconds = sum(cut.duration for cut in cuts)
        spoken = sum(len(cut.supervisions[0].text.split()) for cut in cuts)
        print(
            f"{out}: {len(cuts)} strings, {seconds / 60:.1f} minutes, {spoken} words from "
            f"{len(chosen)} recordings"
        )


if __name__ == "__main__":
    main()
