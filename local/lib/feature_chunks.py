"""Features of many cuts, a chunk at a time: every chunk is one archive and a part of the manifest.

A chunk is finished when its part of the manifest is there, so that an interrupted run goes on with
the next one. The parts of the manifest are kept in ``storage_dir`` until all are joined.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lhotse import Fbank, Features
from lhotse.cut import MonoCut
from lhotse.features.io import FeaturesWriter, available_storage_backends, get_writer
from lhotse.utils import fastcopy

from local.lib.disk_space import check_space
from local.lib.manifest_lines import line_of, new_manifest, order, read_lines
from local.lib.skipped import Skipped, Unusable, read_skipped, skipped_beside, write_skipped
from local.lib.workers import worker_pool
from zipformer.data.audio import UnreadableCut, cut_samples
from zipformer.data.features import MIN_SAMPLES, make_extractor
from zipformer.data.manifests import cut_of_line, source_of
from zipformer.files import write_text
from zipformer.progress import Progress

CHUNK = 500  # cuts
BYTES_PER_SECOND = {"numpy_files": 32_100, "lilcom_chunky": 9_300}  # of audio, 80 features


@dataclass(frozen=True)
class Settings:
    """What to compute and where to put it."""

    cuts: Path
    out: Path
    storage_dir: Path
    storage: str = "numpy_files"
    speed_factors: tuple[float, ...] = (1.0,)
    sample_rate: int = 16000
    num_features: int = 80

    def manifest_of(self, chunk: Chunk) -> Path:
        """The chunk's part of the manifest."""
        return self.storage_dir / "parts" / f"{chunk.name}.jsonl.gz"

    @property
    def stamp(self) -> Path:
        """Says what the features in ``storage_dir`` were made of."""
        return self.storage_dir / "made_of.json"


@dataclass(frozen=True)
class Chunk:
    """Some lines of the input, each with the speed it is wanted at."""

    name: str
    items: list[tuple[bytes, float]]


def default_storage() -> str:
    """lilcom's compressed archives where lilcom is installed, else one numpy file a cut."""
    return "lilcom_chunky" if "lilcom_chunky" in available_storage_backends() else "numpy_files"


def plan(
    lines: Sequence[bytes], factors: Sequence[float], num_jobs: int, shuffle_seed: int | None
) -> list[Chunk]:
    """Every line at every speed, in the order of the manifest to be.

    Raises:
        ValueError: If two cuts have one id: their features would be stored under one name.
    """
    ids = Counter(json.loads(line)["id"] for line in lines)
    if twice := [name for name, count in ids.items() if count > 1]:
        raise ValueError(f"{len(twice)} ids stand for several cuts, as {twice[0]!r}: rename them")
    total = len(lines) * len(factors)
    size = max(1, min(CHUNK, -(-total // max(num_jobs, 1))))
    items = [
        (lines[i // len(factors)], factors[i % len(factors)]) for i in order(total, shuffle_seed)
    ]
    # The size is in the name: a run with another one does not take up these chunks.
    starts = range(0, total, size)
    return [Chunk(f"{size}-{start // size:06d}", items[start : start + size]) for start in starts]


def process_all(settings: Settings, chunks: Sequence[Chunk], num_jobs: int) -> list[Skipped]:
    """Computes the chunks that are not there yet; what all of them skipped, every cut once."""
    total = sum(len(chunk.items) for chunk in chunks)
    title = settings.out.name.split(".")[0]
    skipped: dict[str, Skipped] = {}
    with Progress(title, total, "cuts") as progress:
        for chunk, some in zip(chunks, _run(settings, chunks, num_jobs), strict=True):
            progress.add(len(chunk.items))
            skipped.update((s.name, s) for s in some)
    return list(skipped.values())


def _run(settings: Settings, chunks: Sequence[Chunk], num_jobs: int) -> Iterator[list[Skipped]]:
    work = partial(process, settings)
    if num_jobs < 2 or len(chunks) < 2:
        yield from map(work, chunks)
        return
    with worker_pool(min(num_jobs, len(chunks))) as pool:
        yield from pool.map(work, chunks)


def process(settings: Settings, chunk: Chunk) -> list[Skipped]:
    """Computes and stores the features of a chunk, unless it is there."""
    manifest = settings.manifest_of(chunk)
    if manifest.is_file():
        return read_skipped(skipped_beside(manifest))
    torch.set_num_threads(1)
    extractor = make_extractor(settings.sample_rate, settings.num_features)
    skipped = []
    archive = settings.storage_dir / f"feats-{chunk.name}"
    with get_writer(settings.storage)(archive) as storage, new_manifest(manifest) as file:
        for line, factor in chunk.items:
            cut = cut_of_line(line)
            try:
                file.write(line_of(_with_features(cut, factor, settings, extractor, storage)))
            except Unusable as fault:
                skipped.append(Skipped(cut.id, source_of(cut), fault.reason, fault.detail))
        write_skipped(skipped_beside(manifest), skipped)
    return skipped


def _with_features(
    cut: MonoCut, factor: float, settings: Settings, extractor: Fbank, storage: FeaturesWriter
) -> MonoCut:
    """The cut at a speed with its features stored; raises ``Unusable`` if it gives none."""
    cut = cut.drop_features()
    if cut.sampling_rate != settings.sample_rate:
        cut = cut.resample(settings.sample_rate)
    if cut.num_samples < MIN_SAMPLES:
        raise Unusable("too short", f"{cut.num_samples} samples")
    if factor != 1.0:
        cut = cut.perturb_speed(factor)
    try:
        samples = cut_samples(cut, settings.sample_rate)
    except UnreadableCut as error:
        reason = error.fault.partition(" (")[0] or "unreadable"
        raise Unusable(reason, error.fault or type(error.__cause__).__name__) from error
    values = extractor.extract(samples, settings.sample_rate)  # (T, F)
    features = Features(
        type=extractor.name,
        num_frames=len(values),
        num_features=settings.num_features,
        frame_shift=extractor.frame_shift,
        sampling_rate=cut.sampling_rate,
        start=cut.start,
        duration=cut.duration,
        channels=cut.channel,
        storage_type=storage.name,
        storage_path=str(Path(storage.storage_path).resolve()),
        storage_key=storage.write(key_of(cut.id), values),
    )
    return fastcopy(cut, features=features)


def key_of(cut_id: str) -> str:
    """Under which the features of a cut are stored: a name that any file system takes.

    Ids of plain letters stay as they are; others get a hash, by which those that would look the
    same, as ``a/b`` and ``a_b``, or be too long are told apart.
    """
    if re.fullmatch(r"[A-Za-z0-9._+-]{1,100}", cut_id) and not cut_id.startswith("."):
        return cut_id
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", cut_id)[:80].lstrip(".")
    return f"{plain}-{hashlib.sha256(cut_id.encode()).hexdigest()[:16]}"


def fingerprint(lines: Sequence[bytes], settings: Settings, shuffle_seed: int | None) -> str:
    """Stands for the cuts and everything that the features and their order depend on."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    kind = [
        settings.storage,
        settings.speed_factors,
        settings.sample_rate,
        settings.num_features,
        shuffle_seed,
    ]
    digest.update(json.dumps(kind).encode())
    return digest.hexdigest()


def is_finished(settings: Settings, made_of: str) -> bool:
    """Whether the manifest is there, as it was written, and was made of just this."""
    return settings.out.is_file() and _stamp(settings) == _finished(settings, made_of)


def mark_finished(settings: Settings, made_of: str) -> None:
    """The manifest is written; its parts are no longer needed."""
    write_text(settings.stamp, json.dumps(_finished(settings, made_of)))
    shutil.rmtree(settings.storage_dir / "parts", ignore_errors=True)


def _finished(settings: Settings, made_of: str) -> dict[str, str]:
    with open(settings.out, "rb") as manifest:
        return {"made_of": made_of, "made": hashlib.file_digest(manifest, "sha256").hexdigest()}


def begin(settings: Settings, made_of: str, redo: bool) -> None:
    """Removes what was made of something else, and keeps what an interrupted run has left."""
    settings.out.unlink(missing_ok=True)  # it would name features that are replaced now
    if redo or _stamp(settings) != {"made_of": made_of}:
        shutil.rmtree(settings.storage_dir, ignore_errors=True)
    settings.storage_dir.mkdir(parents=True, exist_ok=True)
    write_text(settings.stamp, json.dumps({"made_of": made_of}))


def _stamp(settings: Settings) -> dict[str, str]:
    if not settings.stamp.is_file():
        return {}
    content: dict[str, str] = json.loads(settings.stamp.read_text())
    return content


def check_room(several: Sequence[Settings]) -> None:
    """Refuses to begin if the features of all these sets together will not fit on the disk.

    Raises:
        ValueError: Saying how much they take, and what takes less.
    """
    needed = hours = 0.0
    for settings in several:
        begun = settings.out.is_file() or (settings.storage_dir / "parts").is_dir()
        if begun or settings.storage not in BYTES_PER_SECOND:
            continue  # it takes the room that it has, or nobody knows how much
        seconds = sum(json.loads(line)["duration"] for line in read_lines(settings.cuts))
        seconds *= sum(1 / factor for factor in settings.speed_factors)
        hours += seconds / 3600
        needed += seconds * BYTES_PER_SECOND[settings.storage] * settings.num_features / 80
    if needed:
        check_space(
            several[0].storage_dir,
            needed,
            f"storing the features of {hours:.0f} hours as {several[0].storage}",
            "choose another disk, install lilcom for a third of it (pip install lilcom), or train "
            "with features on the fly, which takes none (--features on-the-fly)",
        )
