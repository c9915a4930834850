"""What clients have said, kept in files, if the operator wants to hear it again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from zipformer.context import Context


class AudioKeeper:
    """Writes the audio of every call into a file of its own.

    Args:
        folder: Where to; None keeps nothing.
        sample_rate: Of the audio in Hz.

    Raises:
        ValueError: If the folder cannot be made.
    """

    def __init__(self, folder: Path | None, sample_rate: int) -> None:
        self.folder, self.sample_rate = folder, sample_rate
        self._numbers = itertools.count(1)
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ValueError(f"audio cannot be kept in {folder}: {error}") from error

    @contextmanager
    def call(self, context: Context) -> Iterator[Callable[[np.ndarray], object] | None]:
        """One call: what takes its (N,) samples, as the model hears them; None if nothing is kept.

        The file is WAV of floats, so that recognising it gives the same words again.
        """
        if self.folder is None:
            yield None
            return
        with (
            _new_file(self.folder, next(self._numbers), context) as raw,
            soundfile.SoundFile(
                raw, "w", self.sample_rate, 1, format="WAV", subtype="FLOAT"
            ) as file,
        ):
            yield file.write


def _new_file(folder: Path, number: int, context: Context) -> BinaryIO:
    """A file with the first free name from a number on: other processes may count from one, too."""
    while True:
        moment = time.strftime("%Y%m%d-%H%M%S")
        try:
            return (folder / f"{moment}-{number:04d}-{context.slug}.wav").open("x+b")
        except FileExistsError:
            number += 1
