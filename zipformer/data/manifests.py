"""Reading lhotse's cuts manifests, with errors that say what to do."""

from __future__ import annotations

import gzip
import json
import pickle
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os.path import commonprefix
from pathlib import Path

from lhotse import CutSet
from lhotse.audio.utils import AudioLoadingError, DurationMismatchError
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item

# What reading damaged or missing audio raises.
UNREADABLE = (AudioLoadingError, DurationMismatchError, OSError, EOFError)
# What reading damaged stored features raises, by whichever way they are stored and damaged.
DAMAGED = (
    *UNREADABLE,
    ValueError,
    TypeError,
    RuntimeError,
    AssertionError,
    LookupError,
    pickle.UnpicklingError,
    zlib.error,
)
# What reading a file raises that is no manifest, or only a part of one.
NO_MANIFEST = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AssertionError,
    LookupError,
    AttributeError,
    zlib.error,
    tarfile.TarError,
)


def check_manifest(path: Path) -> None:
    """Refuses a cuts manifest, or a folder of shards, that is not there.

    Raises:
        FileNotFoundError: Naming the file and what makes it.
    """
    if Path(path).is_dir() and not shards_in(path):
        raise FileNotFoundError(
            f"{path} holds no cuts.*.jsonl.gz: it is no folder of shards (local/to_shar.py)"
        )
    if not Path(path).exists():
        raise FileNotFoundError(
            f"cuts manifest {path} not found: the prepare.sh of the recipe makes it "
            "(recipes/<dataset>/prepare.sh); run it, or correct the path in the config"
        )


def shards_in(folder: Path) -> list[Path]:
    """The cuts manifests of a folder in lhotse's Shar format, in order."""
    return sorted(Path(folder).glob("cuts.*.jsonl*"))


def open_cuts(path: Path) -> CutSet:
    """A manifest, read lazily: one cut after another as they are asked for.

    Args:
        path: A file, or a folder of shards (lhotse's Shar format), whose features or audio then
            come along with the cuts.

    Raises:
        FileNotFoundError: If there is no such file or folder.
    """
    check_manifest(path)
    return CutSet.from_shar(in_dir=path) if Path(path).is_dir() else CutSet.from_jsonl_lazy(path)


def read_cuts(path: Path) -> Iterator[Cut]:
    """The cuts of a manifest one after another, as ``open_cuts`` reads them.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is no manifest of cuts, or damaged, naming it.
    """
    with naming_damaged(path):
        for cut in open_cuts(path):
            yield _checked(cut)


def cut_of_line(line: bytes) -> Cut:
    """The cut of a line of a manifest; raises one of ``NO_MANIFEST`` if it is something else."""
    return _checked(deserialize_item(json.loads(line)))


def _checked(item: object) -> Cut:
    if not isinstance(item, Cut):
        raise TypeError(f"it holds a {type(item).__name__}")
    return item


@contextmanager
def naming_damaged(path: Path, items: str = "cuts") -> Iterator[None]:
    """Turns what reading something else than a manifest raises into an error that names it.

    Args:
        path: The manifest.
        items: What it should hold.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except NO_MANIFEST as error:
        raise ValueError(
            f"{path} cannot be read as a manifest of {items} ({type(error).__name__}: {error}): it "
            "is something else, or damaged. Correct the path, or run the preparation again"
        ) from error


def count_cuts(path: Path) -> int:
    """Number of cuts in a manifest or a folder of shards; of these only the first is parsed.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is no manifest of cuts, or cut short, naming it.
    """
    with naming_damaged(path):
        count = 0
        for count, line in enumerate(_lines(path), 1):
            if count == 1:
                cut_of_line(line)
        return count


def manifest_seconds(path: Path) -> float:
    """Seconds of audio in a manifest or a folder of shards."""
    with naming_damaged(path):
        return sum(json.loads(line)["duration"] for line in _lines(path))


def _lines(path: Path) -> Iterator[bytes]:
    """A line for every cut."""
    check_manifest(path)
    for file in shards_in(path) if Path(path).is_dir() else [path]:
        opened = gzip.open if str(file).endswith(".gz") else open
        with opened(file, "rb") as lines:
            yield from (line for line in lines if line.strip())


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
        return features_of(cut)
    return cut.id


def features_of(cut: Cut) -> str:
    """Where the stored features of a cut lie, for messages; empty for a mixed one."""
    features = getattr(cut, "features", None)
    return "" if features is None else f"{features.storage_path}/{features.storage_key}"


def set_names(paths: Sequence[Path]) -> list[str]:
    """Short names of sets: those of their files, without what all of them begin with.

    Example:
        >>> set_names([Path("a/cuts_dev-clean.jsonl.gz"), Path("a/cuts_dev-other.jsonl.gz")])
        ['dev-clean', 'dev-other']
        >>> set_names([Path("a/dev.jsonl.gz"), Path("b/dev.jsonl.gz")])
        ['a/dev.jsonl.gz', 'b/dev.jsonl.gz']
    """
    names = [path.name.removesuffix(".gz").removesuffix(".jsonl") for path in paths]
    if len(set(names)) < len(names):
        return [str(path) for path in paths]
    shared = commonprefix(names).rpartition("_")
    return [name[len("".join(shared[:2])) :] or name for name in names]
