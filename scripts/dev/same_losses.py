"""Whether a change leaves training as it was: the losses of seeded steps, here and at a revision.

python scripts/dev/same_losses.py b000109                       # all configs of the digits recipe
python scripts/dev/same_losses.py main recipes/digits/dual.toml --steps 10 --policy uniform

Every config is trained for some steps by the code of this checkout and by that of the revision, on
the same data (recipes/digits/prepare.sh comes first), and all figures of every step are compared,
bit for bit. Options that are not known here are those of training. The exit status says whether all
are equal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLOCK = ("hours_per_hour", "eta_seconds", "done", "memory_mb")  # differ from run to run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="to compare with, as git names it")
    parser.add_argument("configs", type=Path, nargs="*", help="default: recipes/digits/*.toml")
    parser.add_argument("--steps", type=int, default=30)
    given, options = parser.parse_known_args()
    configs = given.configs or sorted((ROOT / "recipes/digits").glob("*.toml"))
    equal = True
    with worktree(given.revision) as old, TemporaryDirectory() as folder:
        for config in configs:
            name = config.resolve().relative_to(ROOT)
            before = train(old, name, Path(folder) / "old" / config.stem, given.steps, options)
            after = train(ROOT, name, Path(folder) / "new" / config.stem, given.steps, options)
            verdict = compare(before, after)
            equal &= verdict.startswith("equal")
            print(f"{name}: {verdict}", flush=True)
    sys.exit(not equal)


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A checkout of another revision that sees the data of this one."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkout"
        git("worktree", "add", "--detach", str(path), revision)
        try:
            for data in ROOT.glob("recipes/*/data"):
                (path / data.relative_to(ROOT)).symlink_to(data)
            yield path
        finally:
            git("worktree", "remove", "--force", str(path))


def train(
    checkout: Path, config: Path, exp_dir: Path, steps: int, options: Sequence[str]
) -> list[dict[str, Any]]:
    """The records of every step."""
    command = [sys.executable, "scripts/train.py", str(config), "--exp-dir", str(exp_dir)]
    command += ["--max-steps", str(steps), "--log-every", "1", "--tensorboard", "false"]
    command += ["--wer-cuts", "0", "--num-workers", "1", "--device", "cpu", *options]
    done = subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)} in {checkout}:\n{done.stderr}")
    lines = (exp_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in record.items() if k not in CLOCK} for record in records]


def compare(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """Equal, or the first step and figure that is not."""
    for one, other in zip(before, after, strict=True):
        for name in one.keys() | other.keys():
            if one.get(name) != other.get(name):
                return (
                    f"differs first at step {one['step']} ({one['kind']}), {name}: "
                    f"{one.get(name)!r} there, {other.get(name)!r} here"
                )
    last = after[-1]
    return f"equal, bit for bit, {len(after)} records; last loss {last['loss']!r}"


def git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    main()
