"""Audio files to lhotse's recordings: every file is decoded once, so that lengths are exact.

The header of an MP3 may be off, and a truncated FLAC still has a whole header; only decoding shows
what training will get.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from local.lib.channels import Channels
from local.lib.skipped import Skipped, Unusable
from local.lib.workers import worker_pool
from zipformer.data.features import MIN_SAMPLES
from zipformer.data.sound_files import (
    BLOCK,
    TOLERANCE,
    UNKNOWN_LENGTH,
    foreign_format,
    sample_fault,
)
from zipformer.progress import shown

SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")  # the first is taken where there are several
FILES_PER_TASK = 32
NO_CHOICE = Channels()
SEVERAL_CHANNELS = "several channels, and none chosen"  # a reason to leave a file out


@dataclass(frozen=True)
class Utterance:
    """A file with what is said in it.

    Args:
        name: Id of the utterance, of its recording and of its cut.
        audio: The file.
        text: Transcript.
        speaker: Who says it; None if that is not known.
        where: The line that it comes from, for messages.
    """

    name: str
    audio: Path
    text: str
    speaker: str | None = None
    where: str = ""


@dataclass(frozen=True)
class Format:
    """What decoding a file gave, and what is heard: the file, or the mean of its channels."""

    num_samples: int
    sample_rate: int
    channels: int
    path: Path


def decode(path: Path) -> Format:
    """Decodes a whole file.

    Raises:
        Unusable: If it is empty, of a format that is not read, damaged, truncated or too short for
            features.
    """
    if not path.is_file():
        raise Unusable("no audio file")
    if not path.stat().st_size:
        raise Unusable("empty audio file")
    try:
        with soundfile.SoundFile(path) as file:
            found = Format(_read_through(file), file.samplerate, file.channels, path)
            promised = file.frames
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        if kind := foreign_format(path):
            advice = "convert it, as with ffmpeg -i IN OUT.flac"
            raise Unusable(f"{kind}, which is not read: {advice}") from None
        raise Unusable("damaged audio", str(error).removesuffix(".")) from None
    if found.num_samples + TOLERANCE < promised < UNKNOWN_LENGTH:
        raise Unusable("truncated audio", f"{found.num_samples} of {promised} samples")
    if found.num_samples < MIN_SAMPLES:
        raise Unusable("too short", f"{found.num_samples} samples")
    return found


def _read_through(file: soundfile.SoundFile) -> int:
    """Decodes all that is there; returns the number of samples."""
    count = 0
    while len(block := file.read(BLOCK, dtype="float32")):  # unlike blocks(), which fills up
        if fault := sample_fault(block):
            raise Unusable(fault.partition(" (")[0], fault)
        count += len(block)
    return count


def decode_all(
    utterances: Sequence[Utterance], num_jobs: int, title: str, channels: Channels = NO_CHOICE
) -> tuple[list[tuple[Utterance, Recording]], list[Skipped]]:
    """Recordings of utterances in their order, and those that have none, with the reason.

    Args:
        utterances: Each in a file.
        num_jobs: Processes.
        title: Of the progress that is shown.
        channels: What is heard of files with several.
    """
    good, bad = [], []
    found = _map(utterances, num_jobs, channels)
    for utterance, outcome in zip(
        utterances, shown(found, title, len(utterances), "files"), strict=True
    ):
        if isinstance(outcome, Format):
            good.append((utterance, recording_of(utterance.name, outcome.path, outcome)))
        else:
            source = str(utterance.audio)
            bad.append(Skipped(utterance.name, source, outcome.reason, outcome.detail))
    return good, bad


def _map(
    utterances: Sequence[Utterance], num_jobs: int, channels: Channels
) -> Iterator[Format | Unusable]:
    heard = partial(_try, channels)
    if num_jobs < 2 or len(utterances) <= FILES_PER_TASK:
        yield from map(heard, utterances)
        return
    with worker_pool(num_jobs) as pool:
        yield from pool.map(heard, utterances, chunksize=FILES_PER_TASK)


def _try(channels: Channels, utterance: Utterance) -> Format | Unusable:
    try:
        found = decode(utterance.audio)
    except Unusable as fault:
        return fault
    if found.channels == 1:
        return found
    if channels.mean_in is not None:
        return replace(found, channels=1, path=channels.mix(utterance.name, utterance.audio))
    if channels.one is None:
        return Unusable(SEVERAL_CHANNELS, f"{found.channels}")
    if channels.one >= found.channels:
        return Unusable(f"no channel {channels.one}", f"{found.channels} channels, counted from 0")
    return found


def recording_of(name: str, path: Path, found: Format) -> Recording:
    """lhotse's recording of a file that was decoded."""
    channels = list(range(found.channels))
    return Recording(
        id=name,
        sources=[AudioSource(type="file", channels=channels, source=str(path.absolute()))],
        sampling_rate=found.sample_rate,
        num_samples=found.num_samples,
        duration=found.num_samples / found.sample_rate,
        channel_ids=channels,
    )


def cut_of(
    utterance: Utterance,
    recording: Recording,
    language: str | None = None,
    channels: Channels = NO_CHOICE,
) -> MonoCut:
    """The cut of a whole recording with its transcript; of several channels the one asked for."""
    heard = channels.heard(recording)
    supervision = SupervisionSegment(
        id=utterance.name,
        recording_id=recording.id,
        start=0.0,
        duration=recording.duration,
        channel=heard,
        text=utterance.text,
        language=language,
        speaker=utterance.speaker,
    )
    return MonoCut(
        id=utterance.name,
        start=0.0,
        duration=recording.duration,
        channel=heard,
        supervisions=[supervision],
        recording=recording,
    )
