"""From what lhotse's readers of corpora give to cuts that can be trained on.

lhotse knows the layouts of many corpora (``lhotse.recipes``). What comes after is the same for all:
every file is decoded once, so that lengths are exact; texts pass the rules of the recipe; what
cannot be used is left out by name; a set is written as manifests of recordings, supervisions, cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lhotse import MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.audio.utils import AudioLoadingError
from lhotse.utils import fastcopy
from soundfile import SoundFileError

from local.lib.audio_files import Utterance, decode_all
from local.lib.manifest_lines import write_items
from local.lib.segments import within_recordings
from local.lib.skipped import Skipped, check_share, skipped_beside, summary, write_skipped
from zipformer.files import write_text

Manifests = Mapping[str, RecordingSet | SupervisionSet]  # "recordings" and "supervisions"
TextRule = Callable[[str], str]


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
) -> None:
    """Writes PREFIX_{recordings,supervisions,cuts}_SET.jsonl.gz for each set, and sets.txt.

    Args:
        prefix: Of the manifests.
        sets: Manifests by the name of the set.
        out_dir: Where they go.
        num_jobs: Processes.
        max_bad_share: Share of a set that may be left out.
        text_rule: Gives the transcript that is trained on; empty if there is none.

    Raises:
        ValueError: If a set is empty, or too much of it cannot be used.
    """
    for name, manifests in sets.items():
        cuts, skipped = usable_cuts(manifests, num_jobs, name, text_rule)
        check_share(f"{prefix}, {name}", skipped, len(cuts) + len(skipped), max_bad_share)
        if not cuts:
            raise ValueError(f"{prefix}, {name}: not a single utterance in it")
        _write(prefix, name, cuts, out_dir)
        write_skipped(skipped_beside(out_dir / f"{prefix}_cuts_{name}.jsonl.gz"), skipped)
        print(_described(name, cuts))
        for line in summary(skipped):
            print(f"  {line}")
    write_text(out_dir / "sets.txt", "\n".join(sets))


def usable_cuts(
    manifests: Manifests,
    num_jobs: int,
    title: str,
    text_rule: TextRule = str,
) -> tuple[list[MonoCut], list[Skipped]]:
    """A cut for each supervision, in the order of their ids, and what cannot be used."""
    recordings, supervisions = manifests["recordings"], manifests["supervisions"]
    assert isinstance(recordings, RecordingSet) and isinstance(supervisions, SupervisionSet)
    files = [Utterance(r.id, Path(str(r.sources[0].source)), "") for r in recordings]
    decoded, damaged = decode_all(sorted(files, key=lambda f: f.name), num_jobs, title)
    by_id = {recording.id: recording for _, recording in decoded}
    faults = {fault.name: fault for fault in damaged}
    segments, skipped = [], []
    for segment in sorted(supervisions, key=lambda s: s.id):
        text = text_rule((segment.text or "").strip())
        if fault := faults.get(segment.recording_id):
            skipped.append(Skipped(segment.id, fault.source, fault.reason, fault.detail))
        elif not text:
            skipped.append(Skipped(segment.id, segment.recording_id, "transcript without words"))
        else:
            segments.append(fastcopy(segment, text=text))
    good, outside = within_recordings(segments, by_id)
    cuts = [_cut_of(segment, by_id[segment.recording_id]) for segment in good]
    return cuts, skipped + outside


def _cut_of(segment: SupervisionSegment, recording: Recording) -> MonoCut:
    """Of a recording with one channel: ``decode_all`` has left out the others."""
    return MonoCut(
        id=segment.id,
        start=segment.start,
        duration=segment.duration,
        channel=0,
        supervisions=[fastcopy(segment, start=0.0, channel=0)],
        recording=recording,
    )


def _write(prefix: str, name: str, cuts: list[MonoCut], out_dir: Path) -> None:
    recordings = {cut.recording.id: cut.recording for cut in cuts}
    said = (fastcopy(cut.supervisions[0], start=cut.start) for cut in cuts)
    write_items(out_dir / f"{prefix}_recordings_{name}.jsonl.gz", recordings.values())
    write_items(out_dir / f"{prefix}_supervisions_{name}.jsonl.gz", said)
    write_items(out_dir / f"{prefix}_cuts_{name}.jsonl.gz", cuts)


def _described(name: str, cuts: list[MonoCut]) -> str:
    hours = sum(cut.duration for cut in cuts) / 3600
    speakers = len({cut.supervisions[0].speaker for cut in cuts})
    return f"{name}: {len(cuts)} utterances, {hours:.2f} hours, {speakers} speakers"
