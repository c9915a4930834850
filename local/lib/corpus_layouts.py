"""Which corpus a folder holds, told by the names in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

SHOWN = 8  # names in a message


@dataclass(frozen=True)
class Layout:
    """How a corpus lies on a disk.

    Args:
        name: Of the corpus.
        marks: Globs below its top folder; what any of them finds tells it from others.
        holds: What its top folder holds, in words.
    """

    name: str
    marks: tuple[str, ...]
    holds: str

    def fits(self, folder: Path) -> bool:
        """Whether a folder is the top folder of this corpus."""
        return any(True for mark in self.marks for _ in folder.glob(mark))

    def begins_with(self, folder: Path) -> bool:
        """Whether a folder may be what lies directly in the top folder."""
        for mark in self.marks:
            first, *rest = Path(mark).parts
            if fnmatch(folder.name, first) and (not rest or any(folder.glob("/".join(rest)))):
                return True
        return False


LAYOUTS = {  # by recipe
    "aishell": Layout(
        "AISHELL-1",
        ("data_aishell",),
        "data_aishell/wav and data_aishell/transcript, as the archive of OpenSLR (SLR33) has them",
    ),
    "wenetspeech": Layout(
        "WenetSpeech", ("WenetSpeech.json",), "WenetSpeech.json and audio/, as its download unpacks"
    ),
    "gigaspeech": Layout(
        "GigaSpeech", ("GigaSpeech.json",), "GigaSpeech.json and audio/, as its download unpacks"
    ),
    "csj": Layout(
        "CSJ", ("MORPH/SDB",), "MORPH/SDB/{core,noncore}/*.sdb and WAV/{core,noncore}/*.wav"
    ),
    "tedlium": Layout(
        "TED-LIUM 3", ("legacy/*/stm",), "legacy/{train,dev,test}/{sph,stm}, as SLR51 has them"
    ),
    "commonvoice": Layout(
        "Common Voice",
        ("*/validated.tsv", "*/train.tsv"),
        "a folder for each language with train.tsv, dev.tsv, test.tsv and clips/",
    ),
    "librispeech": Layout(
        "LibriSpeech",
        ("LibriSpeech", "train-clean-*", "train-other-*", "dev-clean*", "dev-other", "test-clean"),
        "train-clean-100, dev-clean and so on, as OpenSLR (SLR12) has them",
    ),
}


def corpus_folder(folder: Path, recipe: str) -> Path:
    """The top folder of a corpus: the one given, one in it, or the one that it lies in.

    Args:
        folder: What was given with --corpus-dir.
        recipe: Which of ``LAYOUTS`` it should be.

    Raises:
        FileNotFoundError: If it is none, with what it has and which corpus it looks like.
        ValueError: If several folders in it are the corpus.
    """
    layout = LAYOUTS[recipe]
    if folder.is_dir():
        if layout.fits(folder):
            return folder
        inner = [path for path in _folders(folder) if layout.fits(path)]
        if len(inner) > 1:
            names = ", ".join(path.name for path in inner)
            raise ValueError(f"{folder} holds {layout.name} more than once: give one of {names}")
        if inner:
            return inner[0]
        if layout.begins_with(folder):
            return folder.absolute().parent
    raise FileNotFoundError(
        f"{folder} holds no {layout.name}: {_found(folder)}; it should hold {layout.holds}"
    )


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir())


def _found(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "there is nothing in it"
    places = [folder, *_folders(folder)]
    for recipe, layout in LAYOUTS.items():
        if any(map(layout.fits, places)):
            return f"it has {_listed(names)}, which looks like {layout.name} (recipes/{recipe})"
    return f"it has {_listed(names)}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN] + ["..."] * (len(names) > SHOWN))
