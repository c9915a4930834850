"""Recorded words: where they lie, and what they sound like."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from zipformer.data.audio import resample
from zipformer.data.sound_files import read_file

FADE_SECONDS = 0.003  # at both ends of every word, against clicks


@dataclass(frozen=True)
class Segment:
    """One recorded word; ``length`` 0 means the whole file."""

    speaker: str
    word: str
    take: int
    audio: Path
    start: int = 0
    length: int = 0


def read_table(path: Path, words: list[str]) -> list[Segment]:
    """Segments from a TSV with the columns speaker, take, start_sample, num_samples and word.

    Instead of ``word`` there may be ``digit``, an index into ``words``. A column ``audio`` names
    the file, relative to the table; without it the file is ``<speaker>.flac`` beside the table.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if not rows:
        raise ValueError(f"{path}: no segments in it")
    try:
        return [
            Segment(
                speaker=row["speaker"],
                word=row["word"] if "word" in row else words[int(row["digit"])],
                take=int(row["take"]),
                audio=path.parent / row.get("audio", f"{row['speaker']}.flac"),
                start=int(row["start_sample"]),
                length=int(row["num_samples"]),
            )
            for row in rows
        ]
    except KeyError as error:
        raise ValueError(f"{path}: has no column {error}; it has {', '.join(rows[0])}") from None


def scan_folder(folder: Path, pattern: str, words: list[str]) -> list[Segment]:
    """Segments from files named like ``{digit}_{speaker}_{take}.wav`` (or ``{word}``)."""
    literal = re.split(r"\{(\w+)\}", pattern)
    regex = "".join(
        f"(?P<{part}>[^_/]+)" if i % 2 else re.escape(part) for i, part in enumerate(literal)
    )
    segments = []
    for audio in sorted(folder.iterdir()):
        match = re.fullmatch(regex, audio.name)
        if match:
            fields = match.groupdict()
            word = fields.get("word") or words[int(fields["digit"])]
            segments.append(Segment(fields["speaker"], word, int(fields["take"]), audio))
    if not segments:
        raise ValueError(f"{folder}: no files named like {pattern}")
    return segments


_read_file = cache(read_file)  # one file holds hundreds of words


def load_word(segment: Segment, sample_rate: int) -> np.ndarray:
    """(N,) float32 at ``sample_rate``, faded in and out."""
    samples, rate = _read_file(segment.audio)
    end = segment.start + segment.length if segment.length else len(samples)
    if end > len(samples):
        raise ValueError(
            f"{segment.audio}: ends before sample {end}, the end of take {segment.take} of "
            f"{segment.word!r}"
        )
    word = resample(samples[segment.start : end], rate, sample_rate).copy()
    ramp = np.linspace(0.0, 1.0, min(int(FADE_SECONDS * sample_rate), len(word) // 2))
    word[: len(ramp)] *= ramp
    word[len(word) - len(ramp) :] *= ramp[::-1]
    return word
