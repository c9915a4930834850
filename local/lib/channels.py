"""What is heard of audio files with several channels."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import dataclass
from pathlib import Path

import soundfile
from lhotse import Recording, SupervisionSegment

from local.lib.feature_chunks import key_of
from zipformer.data.sound_files import BLOCK
from zipformer.files import replacing

MEAN = "mean"


@dataclass(frozen=True)
class Channels:
    """A choice. Without one files of several channels are left out of a corpus.

    Nobody would notice that the wrong one was taken, or that two cancel each other.

    Args:
        one: Which is heard, counted from 0.
        mean_in: Instead: a folder for the average of each such file, as a file of one channel.
    """

    one: int | None = None
    mean_in: Path | None = None

    @classmethod
    def of(cls, choice: int | str | None, out_dir: Path) -> Channels:
        """What the option ``--channel`` says of files whose manifests go to ``out_dir``."""
        if isinstance(choice, str):
            return cls(mean_in=out_dir / MEAN)
        return cls(choice)

    def heard(self, recording: Recording) -> int:
        """The channel of a recording that was not left out."""
        return self.one if self.one is not None and recording.num_channels > 1 else 0

    def hears(self, segment: SupervisionSegment, recording: Recording) -> bool:
        """Whether what a segment says is on what is heard of its recording."""
        if self.one is None or recording.num_channels == 1:
            return True
        said_on = segment.channel
        return self.one in (said_on if isinstance(said_on, list) else [said_on])

    def mix(self, name: str, path: Path) -> Path:
        """Writes the average of a file's channels.

        Args:
            name: Id of its recording.
            path: The file.

        Returns:
            A WAV of float samples in ``mean_in``.
        """
        assert self.mean_in is not None
        self.mean_in.mkdir(parents=True, exist_ok=True)
        target = self.mean_in / f"{key_of(name)}.wav"
        with soundfile.SoundFile(path) as source, replacing(target) as temporary:
            rate = source.samplerate
            with soundfile.SoundFile(temporary, "w", rate, 1, "FLOAT", format="WAV") as mean:
                while len(block := source.read(BLOCK, dtype="float32")):
                    mean.write(block.mean(axis=1))
        return target


def add_channel_option(parser: ArgumentParser) -> None:
    """The option ``--channel``, for ``Channels.of``."""
    parser.add_argument(
        "--channel",
        type=_choice,
        metavar="N|mean",
        help="which is heard of files with several, counted from 0, or their mean, of which files "
        "are written beside the manifests; without it such files are left out",
    )


def _choice(text: str) -> int | str:
    if text == MEAN:
        return MEAN
    if not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is no channel: give a number from 0, or mean")
    return int(text)
