"""A set of checked cuts as files: its manifests, and the list of what they lack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lhotse import MonoCut
from lhotse.utils import fastcopy

from local.lib.manifest_lines import write_items
from local.lib.scripts_of_text import report
from local.lib.skipped import Skipped, check_share, skipped_beside, summary, write_skipped

# No faults of the data, and not counted as such.
NOT_FOR_USE = "not to be used, as the corpus says"
OTHER_CHANNEL = "said on another channel"  # than the one that is heard


def manifest(out_dir: Path, prefix: str, kind: str, name: str) -> Path:
    """Where the recordings, supervisions or cuts of a set are."""
    return out_dir / f"{prefix}_{kind}_{name}.jsonl.gz"


def write_set(
    prefix: str,
    name: str,
    cuts: Sequence[MonoCut],
    skipped: Sequence[Skipped],
    out_dir: Path,
    max_bad_share: float,
    source: str = "",
) -> None:
    """Writes PREFIX_{recordings,supervisions,cuts}_NAME.jsonl.gz and prints what is in them.

    Args:
        prefix: Of the manifests.
        name: Of the set.
        cuts: Each with one supervision, which begins where the cut does.
        skipped: What is left out, named in PREFIX_cuts_NAME.skipped.tsv.
        out_dir: Where they go.
        max_bad_share: Share of the set that may be left out.
        source: What messages call the set; its prefix and name by default.

    Raises:
        ValueError: If the set is empty, or too much of it cannot be used.
    """
    bad = [fault for fault in skipped if fault.reason not in (NOT_FOR_USE, OTHER_CHANNEL)]
    what = source or f"{prefix}, {name}"
    check_share(what, bad, len(cuts) + len(bad), max_bad_share)
    if not cuts:
        raise ValueError(f"{what}: not a single utterance in it")
    recordings = {cut.recording.id: cut.recording for cut in cuts}
    said = (fastcopy(cut.supervisions[0], start=cut.start) for cut in cuts)
    write_items(manifest(out_dir, prefix, "recordings", name), recordings.values())
    write_items(manifest(out_dir, prefix, "supervisions", name), said)
    write_items(manifest(out_dir, prefix, "cuts", name), cuts)
    write_skipped(skipped_beside(manifest(out_dir, prefix, "cuts", name)), skipped)
    print(described(name, cuts))
    texts = ((cut.id, cut.supervisions[0].text) for cut in cuts)
    for line in [*summary(skipped), *report(texts)]:
        print(f"  {line}")


def described(name: str, cuts: Sequence[MonoCut]) -> str:
    """What a set holds, on one line."""
    hours = sum(cut.duration for cut in cuts) / 3600
    speakers = len({cut.supervisions[0].speaker for cut in cuts} - {None, ""})
    known = f", {speakers} speakers" if speakers else ""
    return f"{name}: {len(cuts)} utterances, {hours:.2f} hours{known}"
