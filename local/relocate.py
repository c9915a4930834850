"""Manifests whose files have moved: writes the new folder into their paths.

    python local/relocate.py recipes/librispeech/data --from /old/data --to /new/data

Paths in manifests are absolute. Without --from and --to the folder that was given is searched:
where a file is missing, the part of its path that is found below this folder tells where it went.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.manifest_lines import new_manifest

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
    with opened(path, "rb") as file:
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


def by_prefix(old: str, new: str) -> Move:
    """Replaces the folder at the beginning of a path."""
    old, new = old.rstrip("/"), new.rstrip("/")

    def move(path: str) -> str:
        return new + path[len(old) :] if path == old or path.startswith(old + "/") else path

    return move


def by_search(folder: Path) -> Move:
    """Finds what is missing below a folder, by the end of its path."""
    moved: dict[str, str] = {}  # folders

    def move(path: str) -> str:
        for old, new in moved.items():
            if path.startswith(old + "/") and Path(new + path[len(old) :]).exists():
                return new + path[len(old) :]
        if Path(path).exists():
            return path
        parts = Path(path).parts
        for i in range(1, len(parts)):
            found = folder.joinpath(*parts[i:])
            if found.exists():
                moved[str(Path(*parts[:i]))] = str(folder)
                return str(found)
        return path

    return move


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
        total = 0
        for path in manifests_in(folder):
            changed = relocate(path, move)
            total += changed
            print(f"{path}: {changed} paths changed")
        if not total:
            raise ValueError(f"no path in {folder} was changed: are --from and --to right?")


if __name__ == "__main__":
    main()
