"""Manifests of a corpus of your own: a table (TSV) of audio files with their texts.

The first line names the columns: ``audio`` (or ``path``) and ``text``, and if you have them
``speaker``, ``split`` (train, valid or test) and ``id`` (or ``utt``); others are ignored. Without a
column ``split`` a share of the speakers, or of the texts, is held out.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lhotse import MonoCut

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.audio_files import SEVERAL_CHANNELS, Utterance, cut_of, decode_all
from local.lib.channels import Channels, add_channel_option
from local.lib.errors import one_line_errors
from local.lib.manifest_lines import order, write_items
from local.lib.skipped import (
    Skipped,
    Unusable,
    check_share,
    skipped_beside,
    summary,
    write_skipped,
)
from zipformer.files import write_text

COLUMNS = {  # and the names that each may have
    "audio": ("audio", "path"),
    "text": ("text",),
    "speaker": ("speaker",),
    "split": ("split",),
    "id": ("id", "utt"),
}
REQUIRED = ("audio", "text")
SETS = ("train", "valid", "test")
SET_NAMES = {"dev": "valid", "validation": "valid", **{name: name for name in SETS}}
SPEAKERS_TO_SPLIT = 10  # with fewer, texts are held out instead
TEXT_FORMS: dict[str, Callable[[str], str]] = {
    "as-is": str,
    "upper": str.upper,
    "lower": str.lower,
}


@dataclass
class Table:
    """What a table says, before any audio is decoded."""

    utterances: list[Utterance] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    sets: dict[str, str] = field(default_factory=dict)  # set by utterance, if there is a column


def read_table(path: Path, audio_dir: Path, text_form: str = "as-is") -> Table:
    """Reads a table; its bad lines are skipped and named by their numbers.

    Args:
        path: The TSV.
        audio_dir: What the paths in it are relative to.
        text_form: "as-is", "upper" or "lower".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8, or its first line does not name the columns.
    """
    if not path.is_file():
        raise FileNotFoundError(f"table {path} not found")
    try:
        lines = path.read_text(encoding="utf-8-sig").replace("\r", "").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}): convert it") from None
    columns = _columns(path, lines[0])
    width = len(lines[0].split("\t"))
    table, taken = Table(), dict[str, str]()  # files by name
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        where, fields = f"{path}:{number}", line.split("\t")
        if len(fields) != width:
            detail = f"{len(fields)}, expected {width}"
            table.skipped.append(Skipped("?", where, "wrong number of columns", detail))
            continue
        row = {name: _unquoted(fields[index].strip()) for name, index in columns.items()}
        name = row.get("id") or _name(row["audio"], taken)
        try:
            _check(row, name in taken)
        except Unusable as fault:
            table.skipped.append(Skipped(name or "?", where, fault.reason, fault.detail))
            continue
        taken[name] = row["audio"]
        text = " ".join(TEXT_FORMS[text_form](row["text"]).split())
        audio = audio_dir / row["audio"]
        table.utterances.append(Utterance(name, audio, text, row.get("speaker") or None, where))
        if "split" in row:
            table.sets[name] = SET_NAMES[row["split"]]
    return table


def _unquoted(field: str) -> str:
    """A field without the quotes that pandas and spreadsheets put around it."""
    if re.fullmatch(r'"(?:[^"]|"")*"', field):  # quotes inside are doubled then
        return field[1:-1].replace('""', '"').strip()
    return field


def _columns(path: Path, header: str) -> dict[str, int]:
    found = [_unquoted(name.strip()) for name in header.split("\t")]
    columns = {}
    for column, names in COLUMNS.items():
        index = next((found.index(name) for name in names if name in found), None)
        if index is not None:
            columns[column] = index
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise ValueError(
            f"{path}:1: the first line must name the columns, with tabs between them; there is no "
            f"{' and no '.join(missing)} in {header!r}"
        )
    return columns


def _name(audio: str, taken: dict[str, str]) -> str:
    """An id out of a path: without its suffix and with dashes, or as it is if that is taken."""
    path = Path(audio)
    name = "-".join(path.with_name(path.stem).parts).lstrip("/.-") if path.name else ""
    return name if taken.get(name, audio) == audio else audio


def _check(row: dict[str, str], twice: bool) -> None:
    """Raises ``Unusable`` if a line cannot be used."""
    if not row["audio"]:
        raise Unusable("no audio path")
    if not row["text"]:
        raise Unusable("no text")
    if row.get("split", "train") not in SET_NAMES:
        raise Unusable("unknown split", f"{row['split']!r}, expected {', '.join(SETS)}")
    if twice:
        raise Unusable("id occurs twice")


def hold_out(utterances: Sequence[Utterance], share: float, by: str, seed: int) -> dict[str, str]:
    """Draws sets such that no speaker (or no text) is in two of them.

    Args:
        utterances: All of them.
        share: Of the utterances, for each of valid and test.
        by: "speaker" or "text".
        seed: Of the draw.

    Returns:
        The set of every utterance by its name.

    Raises:
        ValueError: If there are fewer than three speakers (or texts).
    """
    groups: dict[str | None, list[str]] = {}
    for utterance in utterances:
        key = utterance.speaker if by == "speaker" else utterance.text
        groups.setdefault(key, []).append(utterance.name)
    if len(groups) < len(SETS):
        raise ValueError(
            f"only {len(groups)} different {by}s: three sets cannot be held apart by {by}; add a "
            "column split to the table, or choose another --split-by"
        )
    keys = list(groups)
    drawn = [groups[keys[index]] for index in order(len(keys), seed)]
    wanted = max(share * len(utterances), 1)
    sets: dict[str, str] = {}
    for name, to_leave in (("valid", 2), ("test", 1)):
        held = 0
        while held < wanted and len(drawn) > to_leave:
            group = drawn.pop(_fitting(drawn, wanted))
            held += len(group)
            sets.update(dict.fromkeys(group, name))
    sets.update((utterance, "train") for group in drawn for utterance in group)
    return sets


def _fitting(groups: Sequence[list[str]], wanted: float) -> int:
    """The first group that is not far too large, else the smallest."""
    sizes = list(map(len, groups))
    return next((i for i, size in enumerate(sizes) if size <= 2 * wanted), sizes.index(min(sizes)))


def choose_split(utterances: Sequence[Utterance], wanted: str) -> str:
    """What to hold apart: as wanted, or speakers where there are enough of them, else texts."""
    if wanted != "auto":
        return wanted
    speakers = len({u.speaker for u in utterances})
    by = "speaker" if speakers >= SPEAKERS_TO_SPLIT else "text"
    print(f"{speakers} speakers: the sets are held apart by {by} (--split-by)")
    return by


def describe(name: str, cuts: Sequence[MonoCut], train_texts: set[str]) -> str:
    """A set on one line, and how much of it training has read."""
    hours = sum(cut.duration for cut in cuts) / 3600
    speakers = len({cut.supervisions[0].speaker for cut in cuts})
    line = f"{name}: {len(cuts)} utterances, {hours:.2f} hours, {speakers} speakers"
    known = sum(cut.supervisions[0].text in train_texts for cut in cuts)
    return line if name == "train" else f"{line}, {known} with a text that is in train too"


def prepare(args: argparse.Namespace) -> None:
    """Writes the manifests of all sets.

    Raises:
        ValueError: If too many lines are bad, or a set would be empty.
    """
    table = read_table(args.tsv, args.audio_dir or args.tsv.parent, args.text_form)
    channels = Channels.of(args.channel, args.out_dir)
    good, damaged = decode_all(table.utterances, args.num_jobs, args.tsv.name, channels)
    where = {utterance.name: utterance.where for utterance in table.utterances}
    here = {SEVERAL_CHANNELS: "several channels: say which with --channel N, or mean"}
    damaged = [
        Skipped(s.name, where[s.name], here.get(s.reason, s.reason), s.detail or s.source)
        for s in damaged
    ]
    skipped = table.skipped + damaged
    check_share(str(args.tsv), skipped, len(good) + len(skipped), args.max_bad_share)
    usable = [utterance for utterance, _ in good]
    sets = table.sets
    if not sets:
        by = choose_split(usable, args.split_by)
        sets = hold_out(usable, args.held_out, by, args.seed)
    cuts = {
        name: [cut_of(u, r, channels=channels) for u, r in good if sets[u.name] == name]
        for name in SETS
    }
    _check_sets(args.tsv, cuts)
    texts = {cut.supervisions[0].text for cut in cuts["train"]}
    for name, some in cuts.items():
        _write(args.out_dir, args.prefix, name, some)
        print(describe(name, some, texts))
    write_text(args.out_dir / "sets.txt", "\n".join(cuts))
    write_skipped(skipped_beside(args.out_dir / f"{args.prefix}_cuts.jsonl.gz"), skipped)
    for line in summary(skipped):
        print(f"  {line}")


def _check_sets(path: Path, cuts: dict[str, list[MonoCut]]) -> None:
    for name, some in cuts.items():
        if not some:
            raise ValueError(
                f"{path}: no utterance for the set {name}: mend the column split, or leave it out"
            )


def _write(out_dir: Path, prefix: str, name: str, cuts: Sequence[MonoCut]) -> None:
    write_items(out_dir / f"{prefix}_recordings_{name}.jsonl.gz", [c.recording for c in cuts])
    write_items(
        out_dir / f"{prefix}_supervisions_{name}.jsonl.gz", [c.supervisions[0] for c in cuts]
    )
    write_items(out_dir / f"{prefix}_cuts_{name}.jsonl.gz", cuts)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tsv", type=Path, required=True)
    parser.add_argument("--audio-dir", type=Path, help="what paths begin at; the TSV's folder")
    parser.add_argument("--out-dir", type=Path, required=True, help="for the manifests")
    parser.add_argument("--prefix", default="own", help="of the manifests: PREFIX_cuts_SET")
    parser.add_argument("--text-form", choices=tuple(TEXT_FORMS), default="as-is")
    parser.add_argument(
        "--held-out", type=float, default=0.05, help="share for valid, and again for test"
    )
    parser.add_argument("--split-by", choices=("auto", "speaker", "text"), default="auto")
    parser.add_argument("--seed", type=int, default=42)
    add_channel_option(parser)
    parser.add_argument("--num-jobs", type=int, default=2)
    parser.add_argument("--max-bad-share", type=float, default=0.01, help="of lines left out")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line_errors(args.out_dir):
        prepare(args)


if __name__ == "__main__":
    main()
