"""Checks cuts manifests before anything is trained on them, and prints what is in them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from lhotse.cut import Cut

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.overlaps import key_of_cut, overlaps
from local.lib.skipped import read_skipped
from local.lib.workers import worker_pool
from zipformer.config import DataConfig
from zipformer.data.audio import cut_samples
from zipformer.data.dataset import load_features
from zipformer.data.filters import TrainingFilter
from zipformer.data.manifests import UNREADABLE, read_cuts, text_of
from zipformer.files import write_text
from zipformer.progress import shown
from zipformer.tokens import Tokenizer, open_tokenizer

SHOWN = 20  # problems that are printed
COLUMNS = ("manifest", "cuts", "hours", "speakers", "words", "mean s", "longest s", "dropped")


@dataclass
class Summary:
    """What a manifest holds."""

    name: str
    cuts: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    words: int = 0
    speakers: set[str] = field(default_factory=set)
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    keys: set[int] = field(default_factory=set)

    def count(self, cut: Cut) -> None:
        """Adds a cut to the figures."""
        self.cuts += 1
        self.seconds += cut.duration
        self.longest = max(self.longest, cut.duration)
        self.words += len(text_of(cut).split())
        self.speakers |= {s.speaker for s in cut.supervisions if s.speaker}
        self.keys.add(key_of_cut(cut))

    def row(self) -> tuple[str, ...]:
        """The cells of its line in the table."""
        return (
            self.name,
            str(self.cuts),
            f"{self.seconds / 3600:.2f}",
            str(len(self.speakers)),
            str(self.words),
            f"{self.seconds / max(self.cuts, 1):.2f}",
            f"{self.longest:.2f}",
            str(sum(self.dropped.values())),
        )


def validate(
    path: Path,
    tokenizer: Tokenizer | None,
    config: DataConfig,
    load: bool = False,
    every: int = 1,
    test: bool = False,
) -> Summary:
    """Counts the cuts of a manifest, those that training would drop, and all errors.

    Args:
        path: Cuts manifest.
        tokenizer: For the number of tokens and the characters; without one they are not checked.
        config: Limits.
        load: Also reads the features or audio of the cuts.
        every: Reads those of one in so many.
        test: It is not for training: characters that no token can write are counted, no error.
    """
    summary = Summary(path.name.removesuffix(".gz").removesuffix(".jsonl"))
    keep = TrainingFilter(config, tokenizer)
    seen: set[str] = set()
    for cut in shown(read_cuts(path), f"{summary.name}: check", 0, "cuts"):
        summary.count(cut)
        if cut.id in seen:
            summary.errors.append(f"cut {cut.id} occurs more than once")
        seen.add(cut.id)
        if test and tokenizer and tokenizer.unknown_characters(text_of(cut)):
            summary.notes["with characters that no token can write"] += 1
            continue
        try:
            if keep(cut) and load and (summary.cuts - 1) % every == 0:
                _load(cut)
        except (ValueError, *UNREADABLE) as error:
            summary.errors.append(str(error) or f"cut {cut.id}: {type(error).__name__}")
    summary.dropped = keep.dropped
    return summary


def _load(cut: Cut) -> None:
    if cut.has_features:
        load_features(cut, cut.sampling_rate)
    else:
        cut_samples(cut, cut.sampling_rate)


def table(summaries: list[Summary]) -> str:
    """Aligned columns, then the reasons why cuts were dropped."""
    rows = [COLUMNS, *(s.row() for s in summaries)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]
    for summary in summaries:
        for reason, count in summary.dropped.most_common():
            lines.append(f"{summary.name}: training drops {count}: {reason}")
        for note, count in summary.notes.most_common():
            lines.append(f"{summary.name}: {count} {note}")
    return "\n".join(lines)


def compare(summaries: Sequence[Summary], tests: Sequence[bool]) -> None:
    """Notes what manifests have in common.

    That a test set has cuts that are trained on may be meant, as with dev-clean and the mini-train
    that is made of it, so it is no error.
    """
    for first, second, count in overlaps([summary.keys for summary in summaries]):
        one, other = summaries[first], summaries[second]
        if tests[first] == tests[second]:
            other.notes[f"that {one.name} has too"] += count
            continue
        test, train = (one, other) if tests[first] else (other, one)
        test.notes[f"that {train.name} has too, which is trained on"] += count


def left_out(lists: Sequence[Path]) -> Iterator[str]:
    """A line for every reason in the lists of what preparation has skipped."""
    for path in lists:
        name = path.name.removesuffix(".skipped.tsv")
        for reason, count in Counter(s.reason for s in read_skipped(path)).most_common():
            yield f"{name}: preparation left out {count}: {reason} (named in {path})"


def problems(summaries: Sequence[Summary], tests: set[str], max_dropped_share: float) -> list[str]:
    """What must be mended before anything is trained; test sets may hold what training drops."""
    found = [f"{s.name}: {error}" for s in summaries for error in s.errors]
    for s in summaries:
        share = 1.0 if s.name in tests else max_dropped_share
        if s.dropped.total() > share * s.cuts or not s.cuts:
            found.append(f"{s.name}: {s.cuts} cuts, training would drop {s.dropped.total()}")
    return found


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifests", type=Path, nargs="*", help="cuts manifests to train on")
    parser.add_argument(
        "--tests", type=Path, nargs="*", default=[], help="others: training may drop any of them"
    )
    parser.add_argument("--bpe-model", type=Path, help="without it no text is checked")
    parser.add_argument("--sample-rate", type=int, default=DataConfig.sample_rate)
    parser.add_argument("--min-seconds", type=float, default=DataConfig.min_seconds)
    parser.add_argument("--max-seconds", type=float, default=DataConfig.max_seconds)
    parser.add_argument("--max-dropped-share", type=float, default=0.05, help="more is an error")
    parser.add_argument("--load", action="store_true", help="also read the cuts' data")
    parser.add_argument("--load-every", type=int, default=1, help="read one in so many")
    parser.add_argument(
        "--skipped", type=Path, nargs="*", default=[], help="lists of what preparation left out"
    )
    parser.add_argument("--out", type=Path, help="file for the table, which is printed otherwise")
    parser.add_argument("--num-jobs", type=int, default=1, help="manifests at a time")
    return parser.parse_args()


def validate_all(args: argparse.Namespace) -> list[Summary]:
    """The summaries of all manifests on the command line."""
    config = replace(
        DataConfig(),
        sample_rate=args.sample_rate,
        min_seconds=args.min_seconds,
        max_seconds=args.max_seconds,
    )
    paths = [*args.manifests, *args.tests]
    tests = [path in args.tests for path in paths]
    tokenizer = open_tokenizer(args.bpe_model) if args.bpe_model else None
    work = partial(_validate, tokenizer, config, args.load, args.load_every)
    if args.num_jobs < 2 or len(paths) < 2:
        summaries = list(map(work, paths, tests))
    else:
        with worker_pool(min(args.num_jobs, len(paths))) as pool:
            summaries = list(pool.map(work, paths, tests))
    compare(summaries, tests)
    return summaries


def _validate(
    tokenizer: Tokenizer | None, config: DataConfig, load: bool, every: int, path: Path, test: bool
) -> Summary:
    return validate(path, tokenizer, config, load, every, test)


def main() -> None:
    args = parse_args()
    with one_line_errors(args.out or Path.cwd()):
        summaries = validate_all(args)
        text = "\n".join([table(summaries), *left_out(args.skipped)])
        if args.out:
            write_text(args.out, text)
    tests = {path.name.removesuffix(".gz").removesuffix(".jsonl") for path in args.tests}
    found = problems(summaries, tests, args.max_dropped_share)
    if found or not args.out:
        print(text)
    for problem in found[:SHOWN]:
        print(f"ERROR {problem}")
    if found:
        raise SystemExit(f"error: {len(found)} problems in the manifests")


if __name__ == "__main__":
    main()
