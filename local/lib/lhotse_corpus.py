"""From what lhotse's readers of corpora give to cuts that can be trained on.

lhotse knows the layouts of many corpora (``lhotse.recipes``). What comes after is the same for all:
every file is decoded once, so that lengths are exact; texts pass the rules of the recipe; what
cannot be used is left out by name; a set is written as manifests of recordings, supervisions, cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lhotse import MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.audio.utils import AudioLoadingError
from lhotse.utils import fastcopy
from soundfile import SoundFileError

from local.lib.audio_files import NO_CHOICE, Utterance, decode_all
from local.lib.channels import Channels
from local.lib.segments import within_recordings
from local.lib.set_manifests import NOT_FOR_USE, OTHER_CHANNEL, write_set
from local.lib.skipped import Skipped
from zipformer.files import write_text

Manifests = Mapping[str, RecordingSet | SupervisionSet]  # "recordings" and "supervisions"
TextRule = Callable[[str], str | None]  # None: not to be used, as the corpus says


@contextmanager
def reading(corpus: Path, layout: str) -> Iterator[None]:
    """Turns what lhotse's reader raises on a folder of another kind into one line.

    Args:
        corpus: The folder.
        layout: What it should hold, for the message.

    Raises:
        ValueError: Naming the folder, or the damaged file.
    """
    try:
        yield
    except (AudioLoadingError, SoundFileError) as error:
        raise ValueError(f"{corpus}: a file cannot be read; remove or mend it ({error})") from error
    except (OSError, AssertionError, LookupError, ValueError) as error:
        raise ValueError(
            f"{corpus} is not what this recipe reads ({type(error).__name__}: {error}); it should "
            f"hold {layout}"
        ) from error


def write_sets(
    prefix: str,
    sets: Mapping[str, Manifests],
    out_dir: Path,
    num_jobs: int,
    max_bad_share: float,
    text_rule: TextRule = str,
    channel: int | str | None = None,
    known: Mapping[str, Sequence[Skipped]] | None = None,
) -> None:
    """Writes PREFIX_{recordings,supervisions,cuts}_SET.jsonl.gz for each set, and sets.txt.

    A test set without any audio on the disk is left out, and said so.

    Args:
        prefix: Of the manifests.
        sets: Manifests by the name of the set; the first is trained on.
        out_dir: Where they go.
        num_jobs: Processes.
        max_bad_share: Share of a set that may be left out.
        text_rule: Gives the transcript that is trained on; empty if there is none.
        channel: Which one is heard of files with several, or ``mean`` (``Channels.of``).
        known: What the recipe has left out of the sets already.

    Raises:
        ValueError: If a set is empty, or too much of it cannot be used.
    """
    written: list[str] = []
    channels = Channels.of(channel, out_dir)
    for name, manifests in sets.items():
        cuts, skipped = usable_cuts(manifests, num_jobs, name, text_rule, channels)
        if written and not cuts and {fault.reason for fault in skipped} <= {"no audio file"}:
            print(f"{name}: none of its audio is there, left out")
            continue
        skipped += (known or {}).get(name, ())
        write_set(prefix, name, cuts, skipped, out_dir, max_bad_share)
        written.append(name)
    write_text(out_dir / "sets.txt", "\n".join(written))


def usable_cuts(
    manifests: Manifests,
    num_jobs: int,
    title: str,
    text_rule: TextRule = str,
    channels: Channels = NO_CHOICE,
) -> tuple[list[MonoCut], list[Skipped]]:
    """A cut for each supervision, in the order of their ids, and what cannot be used."""
    recordings, supervisions = manifests["recordings"], manifests["supervisions"]
    assert isinstance(recordings, RecordingSet) and isinstance(supervisions, SupervisionSet)
    files = [Utterance(r.id, Path(str(r.sources[0].source)), "") for r in recordings]
    decoded, damaged = decode_all(sorted(files, key=lambda f: f.name), num_jobs, title, channels)
    by_id = {recording.id: recording for _, recording in decoded}
    faults = {fault.name: fault for fault in damaged}
    segments, skipped = [], []
    for segment in sorted(supervisions, key=lambda s: s.id):
        text = text_rule((segment.text or "").strip())
        if fault := faults.get(segment.recording_id):
            skipped.append(Skipped(segment.id, fault.source, fault.reason, fault.detail))
        elif not text:
            reason = NOT_FOR_USE if text is None else "transcript without words"
            skipped.append(Skipped(segment.id, segment.recording_id, reason))
        elif not channels.hears(segment, by_id[segment.recording_id]):
            detail = f"{segment.channel}, not {channels.one}"
            skipped.append(Skipped(segment.id, segment.recording_id, OTHER_CHANNEL, detail))
        else:
            on = segment.channel if channels.mean_in is None else 0  # where the mean is written
            segments.append(fastcopy(segment, text=text, channel=on))
    good, outside = within_recordings(segments, by_id)
    cuts = [_cut_of(segment, by_id[segment.recording_id], channels) for segment in good]
    return cuts, skipped + outside


def _cut_of(segment: SupervisionSegment, recording: Recording, channels: Channels) -> MonoCut:
    heard = channels.heard(recording)
    return MonoCut(
        id=segment.id,
        start=segment.start,
        duration=segment.duration,
        channel=heard,
        supervisions=[fastcopy(segment, start=0.0, channel=heard)],
        recording=recording,
    )
