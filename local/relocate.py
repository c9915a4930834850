"""Manifests whose files have moved: writes the new folder into their paths.

    python local/relocate.py recipes/librispeech/data --from /old/data --to /new/data

Paths in manifests are absolute. Without --from and --to the folder that was given is searched:
where a file is missing, the part of its path that is found below this folder tells where it went.
What is still missing at the end is an error that names it. Finished stages of a preparation stay
finished.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.manifest_lines import new_manifest
from zipformer.data.manifests import naming_damaged
from zipformer.files import write_text

PATH_KEYS = ("source", "storage_path")  # of recordings, and of stored features

Move = Callable[[str], str]


def manifests_in(folder: Path) -> list[Path]:
    """The manifests of recordings and cuts in a folder and all below.

    Raises:
        FileNotFoundError: If there are none.
    """
    found = sorted([*folder.rglob("*.jsonl.gz"), *folder.rglob("*.jsonl")])
    if not found:
        raise FileNotFoundError(f"{folder} holds no manifests (*.jsonl.gz)")
    return found


def relocate(path: Path, move: Move) -> int:
    """Rewrites the paths in a manifest, if any changes; returns how many do."""
    changed, lines = 0, []
    opened = gzip.open if path.suffix == ".gz" else open
    with naming_damaged(path, "recordings or cuts"), opened(path, "rb") as file:
        for line in file:
            item = json.loads(line)
            for table, key in _paths(item):
                new = move(table[key])
                changed += new != table[key]
                table[key] = new
            lines.append(json.dumps(item, ensure_ascii=False).encode() + b"\n")
    if changed and path.suffix == ".gz":
        with new_manifest(path) as out:
            out.writelines(lines)
    elif changed:
        path.write_bytes(b"".join(lines))
    return changed


def _paths(item: object) -> Iterator[tuple[dict[str, str], str]]:
    """Every place in an item of a manifest that holds a path."""
    if isinstance(item, list):
        for value in item:
            yield from _paths(value)
    elif isinstance(item, dict):
        for key, value in item.items():
            if key in PATH_KEYS and isinstance(value, str) and value.startswith("/"):
                yield item, key
            else:
                yield from _paths(value)


@dataclass
class Moves:
    """Which folders are now which, and what is in none of them.

    Args:
        folders: The new one by the old one.
        search: Where to look for files that are missing elsewhere; None looks nowhere.
        missing: Paths that lead to nothing, after all moves.
    """

    folders: dict[str, str] = field(default_factory=dict)
    search: Path | None = None
    missing: set[str] = field(default_factory=set)

    def __call__(self, path: str) -> str:
        """The path now, or as it is if nothing better is known."""
        moved = path
        if self.search is None:
            moved = next(self._candidates(path), path)
        elif not Path(path).exists():
            there = (new for new in self._candidates(path) if Path(new).exists())
            moved = next(there, "") or self._found(path, self.search) or path
        if not Path(moved).exists():
            self.missing.add(moved)
        return moved

    def _candidates(self, path: str) -> Iterator[str]:
        for old, new in self.folders.items():
            if path == old or path.startswith(old + "/"):
                yield new + path[len(old) :]

    def _found(self, path: str, folder: Path) -> str:
        parts = Path(path).parts
        for i in range(1, len(parts)):
            found = folder.joinpath(*parts[i:])
            if found.exists():
                self.folders[str(Path(*parts[:i]))] = str(folder)
                return str(found)
        return ""


def by_prefix(old: str, new: str) -> Moves:
    """Replaces the folder at the beginning of a path."""
    return Moves({old.rstrip("/"): new.rstrip("/")})


def by_search(folder: Path) -> Moves:
    """Finds what is missing below a folder, by the end of its path."""
    return Moves(search=folder)


def move_markers(folder: Path, moves: Moves) -> None:
    """Writes the new folders into the commands of finished stages, which are then not run again."""
    for marker in folder.glob(".done/*"):
        text = marker.read_text()
        for old, new in map(_without_common_end, moves.folders.items()):
            place = rf"(?<![^\s=]){re.escape(old)}(?![^\s/])"
            text = new.join(re.split(place, text))
        write_text(marker, text)


def _without_common_end(folders: tuple[str, str]) -> tuple[str, str]:
    """What has moved, if a folder has moved together with those above it."""
    old, new = map(Path, folders)
    while old.name == new.name and old.parent.name and new.parent.name:
        old, new = old.parent, new.parent
    return str(old), str(new)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="with manifests in it, as a recipe's data")
    parser.add_argument("--from", dest="old", help="folder that the paths begin with")
    parser.add_argument("--to", dest="new", help="folder that is there now")
    args = parser.parse_args()
    if (args.old is None) != (args.new is None):
        parser.error("give --from and --to together, or neither")
    return args


def main() -> None:
    args = parse_args()
    with one_line_errors(args.folder):
        folder = args.folder.resolve()
        move = by_search(folder) if args.old is None else by_prefix(args.old, args.new)
        for path in manifests_in(folder):
            if changed := relocate(path, move):
                print(f"{path}: {changed} paths changed")
        move_markers(folder, move)
        if move.missing:
            raise ValueError(
                f"{len(move.missing)} files and folders of these manifests are not there, as "
                f"{min(move.missing)}: say where they went with --from OLD --to NEW"
            )
        print(f"{folder}: every file of its manifests is there")


if __name__ == "__main__":
    main()
