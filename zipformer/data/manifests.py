"""Reading lhotse's cuts manifests, with errors that say what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

from lhotse import CutSet
from lhotse.audio.utils import AudioLoadingError, DurationMismatchError
from lhotse.cut import Cut

# What reading damaged or missing audio, or a damaged feature file, raises.
UNREADABLE = (AudioLoadingError, DurationMismatchError, OSError, EOFError)


def check_manifest(path: Path) -> None:
    """Refuses a cuts manifest that is not there.

    Raises:
        FileNotFoundError: Naming the file and what makes it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"cuts manifest {path} not found: the prepare.sh of the recipe makes it "
            "(recipes/<dataset>/prepare.sh); run it, or correct the path in the config"
        )


def open_cuts(path: Path) -> CutSet:
    """A manifest, read lazily: one cut after another as they are asked for.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    check_manifest(path)
    return CutSet.from_jsonl_lazy(path)


def count_cuts(path: Path) -> int:
    """Number of cuts in a manifest (``.jsonl`` or ``.jsonl.gz``), without parsing them."""
    check_manifest(path)
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rb") as lines:
        return sum(1 for line in lines if line.strip())


def text_of(cut: Cut) -> str:
    """The transcript of a cut: the texts of its supervisions in time, joined by blanks."""
    parts = sorted(cut.supervisions, key=lambda s: s.start)
    return " ".join(s.text.strip() for s in parts if s.text and s.text.strip())


def source_of(cut: Cut) -> str:
    """Where the audio of a cut lies, for messages."""
    if getattr(cut, "has_recording", False):
        recording = cut.tracks[0].cut.recording if hasattr(cut, "tracks") else cut.recording
        return str(recording.sources[0].source) if recording.sources else recording.id
    if getattr(cut, "has_features", False) and not hasattr(cut, "tracks"):
        return f"{cut.features.storage_path}/{cut.features.storage_key}"
    return cut.id
