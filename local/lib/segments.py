"""Supervisions that lie within their recordings: those that nearly do are clipped, others not used.

Manifests of others have times from a table, in which ends are rounded up, or belong to another
version of the audio.
"""

from __future__ import annotations

from collections.abc import Iterable

from lhotse import Recording, SupervisionSegment
from lhotse.utils import fastcopy, to_list

from local.lib.skipped import Skipped

CLIPPED = 0.5  # seconds beyond either end of a recording that are a matter of rounding


def within_recordings(
    supervisions: Iterable[SupervisionSegment], recordings: dict[str, Recording]
) -> tuple[list[SupervisionSegment], list[Skipped]]:
    """Supervisions that can be cut out, in their order, and the others with the reason.

    Args:
        supervisions: Of the corpus.
        recordings: By id.
    """
    good, skipped, taken = [], [], set[str]()
    for segment in supervisions:
        recording = recordings.get(segment.recording_id)
        reason = "id occurs twice" if segment.id in taken else _fault(segment, recording)
        taken.add(segment.id)
        if reason or recording is None:
            where = f"recording {segment.recording_id}, {segment.start} to {segment.end} s"
            skipped.append(Skipped(segment.id, where, reason))
            continue
        start, end = max(segment.start, 0.0), min(segment.end, recording.duration)
        if (start, end) != (segment.start, segment.end):
            segment = fastcopy(segment, start=start, duration=round(end - start, 6))
        good.append(segment)
    return good, skipped


def _fault(segment: SupervisionSegment, recording: Recording | None) -> str:
    """Why a supervision cannot be used; empty if it can."""
    if recording is None:
        return "no such recording"
    if segment.duration <= 0:
        return "no duration"
    if not set(to_list(segment.channel)) <= set(recording.channel_ids):
        return "no such channel"
    if segment.start < -CLIPPED or segment.end > recording.duration + CLIPPED:
        return "beyond the recording"
    if min(segment.end, recording.duration) <= max(segment.start, 0.0):
        return "beyond the recording"
    return ""
