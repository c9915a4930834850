"""Cuts to lhotse Shar: shards of cuts and of their data, read in sequence, as from object storage.

Cuts with features give ``features.*.tar``, cuts without them ``recording.*.tar`` (FLAC), beside
``cuts.*.jsonl.gz``. Read them with ``CutSet.from_shar(in_dir=...)``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from lhotse.cut import Cut
from lhotse.shar import SharWriter
from lhotse.utils import fastcopy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.disk_space import is_disk_full
from local.lib.errors import one_line_errors
from local.lib.manifest_lines import read_lines
from local.lib.workers import worker_pool
from zipformer.data.audio import UnreadableCut
from zipformer.data.manifests import DAMAGED, cut_of_line, features_of
from zipformer.files import replacing_folder
from zipformer.progress import shown

SHARD = 1000  # cuts


def to_shar(
    cuts: Path, out_dir: Path, shard_size: int = SHARD, num_jobs: int = 1, audio: bool = False
) -> dict[str, str]:
    """Writes the shards of a manifest, in its order; a folder of earlier ones is replaced.

    Args:
        cuts: Manifest.
        out_dir: For the shards, ``shard_size`` cuts each.
        shard_size: Cuts in a shard.
        num_jobs: Processes.
        audio: Store audio though there are features.

    Returns:
        What is stored for every cut, as in ``{"features": "numpy"}``.

    Raises:
        ValueError: If there are no cuts, not all have the same kind of data, or one is unreadable.
    """
    lines = read_lines(cuts)
    if not lines:
        raise ValueError(f"{cuts}: no cuts in it")
    fields = _fields(cut_of_line(lines[0]), audio)
    shards = [lines[i : i + shard_size] for i in range(0, len(lines), shard_size)]
    with replacing_folder(out_dir) as folder:
        done = _run(partial(_write_shard, folder, fields), shards, num_jobs)
        for _ in shown(done, f"{out_dir.name}: shards", len(shards), "shards"):
            pass
    return fields


def _fields(cut: Cut, audio: bool) -> dict[str, str]:
    if cut.has_features and not audio:
        # What lilcom stored loses at most 1/64 again; for others numpy keeps every bit.
        lossy = cut.features.storage_type.startswith("lilcom")
        return {"features": "lilcom" if lossy else "numpy"}
    return {"recording": "flac"}


def _run(work: partial[None], shards: Sequence[list[bytes]], num_jobs: int) -> Iterator[None]:
    if num_jobs < 2 or len(shards) < 2:
        yield from map(work, range(len(shards)), shards)
        return
    with worker_pool(min(num_jobs, len(shards))) as pool:
        yield from pool.map(work, range(len(shards)), shards)


def _write_shard(out_dir: Path, fields: dict[str, str], number: int, lines: list[bytes]) -> None:
    with SharWriter(out_dir, fields, shard_size=len(lines), shard_offset=number) as writer:
        for line in lines:
            cut = cut_of_line(line)
            stored = _only(cut, "features" in fields)
            try:
                writer.write(stored)
            except DAMAGED as error:
                if isinstance(error, OSError) and is_disk_full(error):
                    raise
                source = features_of(cut) if "features" in fields else ""
                raise UnreadableCut.of(cut, error, source) from error


def _only(cut: Cut, features: bool) -> Cut:
    """The cut with its features, or with its audio; nothing that points to files of this disk."""
    if features:
        if not cut.has_features:
            raise ValueError(f"cut {cut.id} has no stored features, but others of its manifest do")
        return fastcopy(cut, recording=None)
    if not cut.has_recording:
        raise ValueError(f"cut {cut.id} has no audio")
    return cut.drop_features()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="cuts manifests")
    parser.add_argument("--out-dir", type=Path, required=True, help="a folder in it per manifest")
    parser.add_argument("--shard-size", type=int, default=SHARD, help="cuts in a shard")
    parser.add_argument("--audio", action="store_true", help="audio though there are features")
    parser.add_argument("--num-jobs", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line_errors(args.out_dir):
        for cuts in args.cuts:
            folder = args.out_dir / cuts.name.split(".")[0]
            fields = to_shar(cuts, folder, args.shard_size, args.num_jobs, args.audio)
            size = sum(path.stat().st_size for path in folder.iterdir())
            shards = len(list(folder.glob("cuts.*")))
            kind = ", ".join(f"{field} as {how}" for field, how in fields.items())
            print(f"{folder}: {shards} shards, {size / 1e6:.0f} MB, {kind}")


if __name__ == "__main__":
    main()
