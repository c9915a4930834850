"""What lies beside a model for those who want to try it: recordings, their texts, and a word on it.

EXP/recordings/about.txt     what the model knows, for a person
EXP/recordings/NAME.flac     or wav, mp3, ogg, opus
EXP/recordings/NAME.txt      what is said in it, if that is known
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SOUNDS = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}
ABOUT = "about.txt"


@dataclass(frozen=True)
class Recording:
    """A sound file that is offered.

    Args:
        path: Of the file.
        text: What is said in it; empty if nobody has written it down.
    """

    path: Path
    text: str = ""

    @property
    def kind(self) -> str:
        """The media type."""
        return SOUNDS[self.path.suffix.lower()]


@dataclass(frozen=True)
class Recordings:
    """All of a folder, by the names of their files.

    Args:
        files: In the order of their names.
        about: What the model knows; empty if nobody has written it down.
    """

    files: tuple[Recording, ...] = ()
    about: str = ""

    @classmethod
    def of(cls, folder: Path) -> Recordings:
        """Reads a folder; of one that does not exist there are none.

        Raises:
            ValueError: If a text is not UTF-8, naming its file.
        """
        if not folder.is_dir():
            return cls()
        sounds = sorted(p for p in folder.iterdir() if p.suffix.lower() in SOUNDS)
        files = tuple(Recording(path, _text(path.with_suffix(".txt"))) for path in sounds)
        return cls(files, _text(folder / ABOUT))

    def named(self, name: str) -> Recording | None:
        """The one of that file name."""
        return next((one for one in self.files if one.path.name == name), None)


def _text(path: Path) -> str:
    try:
        return " ".join(path.read_text(encoding="utf-8").split()) if path.is_file() else ""
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
