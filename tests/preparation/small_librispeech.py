"""Corpora in LibriSpeech's layout for tests, made of its four utterances in the assets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

ASSETS = Path(__file__).parents[1] / "assets" / "librispeech" / "LibriSpeech"
RATE = 16000


@cache
def speech() -> np.ndarray:
    """(N,) float32: somebody talks for 20 seconds."""
    return np.concatenate([soundfile.read(p, dtype="float32")[0] for p in audio_of(ASSETS)])


def audio_of(folder: Path) -> list[Path]:
    """All FLAC files below a folder."""
    return sorted(folder.rglob("*.flac"))


def text_of_line(number: int) -> str:
    """A transcript of twelve real words, another one for every number."""
    lines = [line for p in sorted(ASSETS.rglob("*.trans.txt")) for line in p.open()]
    words = [word for line in lines for word in line.split()[1:]]
    return " ".join(words[(number * 12 + i) % len(words)] for i in range(12))


def write_chapter(
    part: Path,
    speaker: str,
    chapter: str = "1",
    seconds: tuple[float, ...] = (3.0, 3.5),
    suffix: str = ".flac",
) -> Path:
    """A chapter of utterances SPEAKER-CHAPTER-0000, ... with its transcript file."""
    folder = part / speaker / chapter
    folder.mkdir(parents=True)
    lines = []
    for number, length in enumerate(seconds):
        name = f"{speaker}-{chapter}-{number:04d}"
        start = (number * 7919 + sum(map(ord, speaker)) * 101) % (len(speech()) // 2)
        samples = speech()[start : start + round(length * RATE)]
        options = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
        soundfile.write(folder / f"{name}{suffix}", samples, RATE, **options)
        lines.append(f"{name} {text_of_line(number + int(speaker, 36))}\n")
    transcript(folder).write_text("".join(lines))
    return folder


def transcript(chapter: Path) -> Path:
    """Where a chapter has its transcripts."""
    return chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"


def write_part(part: Path, speakers: Mapping[str, str]) -> Path:
    """A part with a chapter for every speaker, whose files have the given suffix."""
    for speaker, suffix in speakers.items():
        write_chapter(part, speaker, suffix=suffix)
    return part
