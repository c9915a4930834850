"""Manifests of GigaSpeech.

The layout is GigaSpeech.json, with every recording and its segments, beside the recordings in
audio/. Of the subsets XS to XL one is trained on. lhotse's ``prepare_gigaspeech`` needs the package
speechcolab to find the recordings of a subset; what it does with a recording does not, and is used
here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.recipes.gigaspeech import parse_utterance

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.corpus_command import corpus_command, corpus_parser
from local.lib.corpus_layouts import LAYOUTS
from local.lib.lhotse_corpus import Manifests, reading, write_sets

RECIPE = "gigaspeech"
TESTS = {"dev": "DEV", "test": "TEST"}
PUNCTUATION = {"<COMMA>", "<PERIOD>", "<QUESTIONMARK>", "<EXCLAMATIONPOINT>"}
NO_SPEECH = {"<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>"}


class Segment(TypedDict):
    """What is read of a segment here; lhotse reads the rest."""

    sid: str
    subsets: list[str]


class Audio(TypedDict):
    """What is read of a recording here."""

    aid: str
    subsets: list[str]
    segments: list[Segment]


def text_rule(text: str) -> str | None:
    """A transcript without the tags of punctuation; None where a tag says that nobody speaks.

    Example:
        >>> text_rule("WELL <COMMA> YES <PERIOD>"), text_rule("<MUSIC>")
        ('WELL YES', None)
    """
    words = [word for word in text.split() if word not in PUNCTUATION]
    return None if NO_SPEECH & set(words) else " ".join(words)


def recordings_of(audios: Iterable[Audio], part: str, corpus: Path) -> Manifests:
    """Recordings and segments of a subset such as XL.

    Args:
        audios: Of GigaSpeech.json.
        part: The subset.
        corpus: What the paths of recordings begin at.
    """
    mark = "{" + part + "}"
    recordings: list[Recording] = []
    supervisions: list[SupervisionSegment] = []
    for audio in audios:
        if mark in audio["subsets"]:
            segments = [segment for segment in audio["segments"] if mark in segment["subsets"]]
            recording, said = parse_utterance({**audio, "segments": segments}, corpus)
            recordings.append(recording)
            supervisions.extend(said)
    return {
        "recordings": RecordingSet.from_recordings(recordings),
        "supervisions": SupervisionSet.from_segments(supervisions),
    }


def main() -> None:
    parser = corpus_parser(__doc__, RECIPE)
    parser.add_argument(
        "--subset", choices=("XS", "S", "M", "L", "XL"), default="XL", help="to train on"
    )
    args = parser.parse_args()
    with corpus_command(args, RECIPE) as corpus:
        parts = {"train": args.subset, **TESTS}
        with reading(corpus, LAYOUTS[RECIPE].holds):
            with open(corpus / "GigaSpeech.json", encoding="utf-8") as file:
                audios = json.load(file)["audios"]
            sets = {name: recordings_of(audios, part, corpus) for name, part in parts.items()}
        write_sets(
            RECIPE, sets, args.out_dir, args.num_jobs, args.max_bad_share, text_rule, args.channel
        )


if __name__ == "__main__":
    main()
