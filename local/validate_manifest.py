"""Checks cuts manifests before anything is trained on them, and prints what is in them."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from lhotse.cut import Cut

from zipformer.config import DataConfig
from zipformer.data.filters import TrainingFilter, check_audio
from zipformer.data.manifests import UNREADABLE, open_cuts, text_of
from zipformer.data.tokenizer import Tokenizer

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
    errors: list[str] = field(default_factory=list)

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


def validate(path: Path, tokenizer: Tokenizer, config: DataConfig, load: bool = False) -> Summary:
    """Counts the cuts of a manifest, those that training would drop, and all errors.

    Args:
        path: Cuts manifest.
        tokenizer: For the number of tokens and the characters.
        config: Limits.
        load: Also reads every cut's features or audio.
    """
    summary = Summary(path.name.split(".")[0])
    keep = TrainingFilter(config, tokenizer)
    seen: set[str] = set()
    for cut in open_cuts(path):
        summary.cuts += 1
        summary.seconds += cut.duration
        summary.longest = max(summary.longest, cut.duration)
        summary.words += len(text_of(cut).split())
        summary.speakers |= {s.speaker for s in cut.supervisions if s.speaker}
        if cut.id in seen:
            summary.errors.append(f"cut {cut.id} occurs more than once")
        seen.add(cut.id)
        try:
            if keep(cut) and load:
                _load(cut)
        except (ValueError, *UNREADABLE) as error:
            summary.errors.append(str(error) or f"cut {cut.id}: {type(error).__name__}")
    summary.dropped = keep.dropped
    return summary


def _load(cut: Cut) -> None:
    check_audio(cut, cut.sampling_rate)
    try:
        cut.load_features() if cut.has_features else cut.load_audio()
    except UNREADABLE as error:
        raise ValueError(f"cut {cut.id} cannot be read: {type(error).__name__}") from error


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
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--bpe-model", type=Path, required=True)
    parser.add_argument("--sample-rate", type=int, default=DataConfig.sample_rate)
    parser.add_argument("--min-seconds", type=float, default=DataConfig.min_seconds)
    parser.add_argument("--max-seconds", type=float, default=DataConfig.max_seconds)
    parser.add_argument("--max-dropped-share", type=float, default=0.05, help="more is an error")
    parser.add_argument("--load", action="store_true", help="also read every cut's data")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = replace(
        DataConfig(),
        sample_rate=args.sample_rate,
        min_seconds=args.min_seconds,
        max_seconds=args.max_seconds,
    )
    try:
        tokenizer = Tokenizer(args.bpe_model)
        summaries = [validate(path, tokenizer, config, args.load) for path in args.manifests]
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"validate_manifest: {error}") from None
    print(table(summaries))
    problems = [f"{s.name}: {error}" for s in summaries for error in s.errors]
    for s in summaries:
        if sum(s.dropped.values()) > args.max_dropped_share * s.cuts or not s.cuts:
            problems.append(f"{s.name}: {s.cuts} cuts, training would drop {s.dropped.total()}")
    for problem in problems[:20]:
        print(f"ERROR {problem}")
    if problems:
        raise SystemExit(f"validate_manifest: {len(problems)} problems")


if __name__ == "__main__":
    main()
