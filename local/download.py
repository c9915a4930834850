"""Fetches archives, verifies their checksums and unpacks them; goes on where it was interrupted.

A table (TSV: name, path on the server, md5) says what there is. What is there already, also what
was fetched by hand, is verified and taken as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.disk_space import check_space, is_disk_full
from local.lib.errors import one_line_errors
from local.lib.unpack import is_unpacked, unpack
from zipformer.progress import Progress

BLOCK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte
ATTEMPTS = 6  # in a row without a byte, once there was one
PAUSE = 2.0  # seconds before the second attempt, doubled for each further one


@dataclass(frozen=True)
class Archive:
    """A file to fetch."""

    name: str
    url: str
    md5: str

    @property
    def file_name(self) -> str:
        """As the server has it."""
        return self.url.rsplit("/", 1)[1]


class Unreachable(Exception):
    """The server does not answer, or has no such file."""


def read_archives(table: Path, mirror: str) -> dict[str, Archive]:
    """The archives of a table by name, at the mirror.

    Raises:
        ValueError: If a line has not three fields.
    """
    archives = {}
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 3:
            raise ValueError(f"{table}:{number}: expected name, path and md5, got {line!r}")
        name, path, md5 = fields
        archives[name] = Archive(name, f"{mirror.rstrip('/')}/{path}", md5)
    return archives


def fetch(archive: Archive, folder: Path, pause: float = PAUSE) -> Path:
    """The verified archive in ``folder``, fetched if it is not there.

    Raises:
        Unreachable: If it cannot be fetched.
        ValueError: If its checksum is wrong, or the disk is too small.
    """
    path = folder / archive.file_name
    if path.is_file():
        verify(path, archive, "remove it and run the same command again")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    _transfer_all(archive.url, part, pause)
    try:
        verify(part, archive, "it was removed; run the same command again to fetch it anew")
    except ValueError:
        part.unlink()
        raise
    os.replace(part, path)
    _mark_verified(path, archive)
    return path


def verify(path: Path, archive: Archive, advice: str) -> None:
    """Compares the md5 of a file; it does so once for a file that stays as it is.

    Raises:
        ValueError: If it is another one, with both and the advice.
    """
    if _marker(path).is_file() and _marker(path).read_text() == _state(path, archive):
        return
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file, Progress(f"md5 of {path.name}", _size(path), "B") as progress:
        while block := file.read(BLOCK):
            digest.update(block)
            progress.add(len(block))
    if digest.hexdigest() != archive.md5:
        raise ValueError(
            f"{path} is damaged or not the file it should be: its md5 is {digest.hexdigest()}, "
            f"expected {archive.md5}; {advice}"
        )
    if not path.name.endswith(".part"):
        _mark_verified(path, archive)


def _marker(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")


def _mark_verified(path: Path, archive: Archive) -> None:
    _marker(path).write_text(_state(path, archive))


def _state(path: Path, archive: Archive) -> str:
    return f"{archive.md5} {_size(path)} {path.stat().st_mtime_ns}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _transfer_all(url: str, part: Path, pause: float) -> None:
    """Transfers the rest of a file, with new attempts when the connection breaks."""
    reached, failures = False, 0
    while True:
        before = _size(part)
        try:
            return _transfer(url, part)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise
            failures = 0 if _size(part) > before else failures + 1
            reached = reached or not failures
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused or not reached or failures >= ATTEMPTS:
                raise Unreachable(f"{url}: {getattr(error, 'reason', error)}") from None
            time.sleep(pause * 2**failures)


def _transfer(url: str, part: Path) -> None:
    """One connection: from the end of ``part`` to the end of the file, or as far as it gets."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is there; the checksum will tell
        raise
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            have = 0  # the server sends all of it, whatever was asked for
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else 0
        check_space(part.parent, total - have, f"fetching the rest of {url}", "make room")
        with open(part, "ab" if have else "wb") as file:
            _copy(response, file, part.name.removesuffix(".part"), have, total)
    if _size(part) < total:
        raise ConnectionError(f"the connection ended at {_size(part)} of {total} bytes")


def _copy(response: IO[bytes], file: IO[bytes], title: str, have: int, total: int) -> None:
    with Progress(title, total, "B") as progress:
        progress.add(have)
        while block := response.read(BLOCK):
            file.write(block)
            progress.add(len(block))


def by_hand(archives: Sequence[Archive], folder: Path) -> str:
    """How to do without this program."""
    lines = [f"  {archive.url} -> {folder / archive.file_name}" for archive in archives]
    return "\n".join(lines)


def prepare(archives: Sequence[Archive], folder: Path) -> None:
    """Fetches and unpacks archives into ``folder``, one after another.

    Raises:
        ValueError: If one is damaged, cannot be fetched, or does not fit on the disk.
    """
    missing = [archive for archive in archives if not is_unpacked(folder, archive.md5)]
    for number, archive in enumerate(missing):
        try:
            path = fetch(archive, folder)
        except Unreachable as error:
            raise ValueError(
                f"cannot fetch {error}. Without a network fetch these by hand, put each where the "
                f"arrow points, and run the same command again:\n"
                f"{by_hand(missing[number:], folder)}\n"
                "Or give a corpus that you have (--corpus-dir), or another server (--mirror URL)"
            ) from None
        count = unpack(path, folder, archive.md5)
        print(f"{archive.name}: {count} files in {folder}; {path.name} is no longer needed")
    for archive in archives:
        if archive not in missing:
            print(f"{archive.name}: done before")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", help="of the archives to fetch")
    parser.add_argument("--table", type=Path, required=True, help="TSV: name, path, md5")
    parser.add_argument("--mirror", required=True, help="URL that the paths begin at")
    parser.add_argument("--to", type=Path, required=True, help="folder for all of it")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line_errors(args.to):
        archives = read_archives(args.table, args.mirror)
        unknown = [name for name in args.names if name not in archives]
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)}: not in {args.table}; there are: {', '.join(archives)}"
            )
        prepare([archives[name] for name in args.names], args.to)


if __name__ == "__main__":
    main()
