"""Manifests of one language of Common Voice.

The layout is LANGUAGE/{train,dev,test}.tsv beside LANGUAGE/clips/CLIP.mp3, where the tables have
the columns path, sentence and client_id. lhotse's ``prepare_commonvoice`` passes over clips that
are not there without a word, stops at the first that is damaged, and wants columns that older
releases do not have; the tables are read here.
"""

from __future__ import annotations

import csv
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.audio_files import Utterance, cut_of, decode_all
from local.lib.channels import Channels
from local.lib.corpus_command import corpus_command, corpus_parser
from local.lib.set_manifests import write_set
from local.lib.skipped import Skipped
from zipformer.files import write_text

RECIPE = "commonvoice"
SETS = ("train", "dev", "test")
TABLES = (*SETS, "validated", "other", "invalidated")
APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u02bc\u2018`", "'"))


def text_rule(sentence: str) -> str:
    """A sentence as it is spoken: small letters, no punctuation but apostrophes inside of words.

    Example:
        >>> text_rule("\u00abIt\u2019s  time!\u00bb, she said - 'now'.")
        "it's time she said now"
    """
    plain = unicodedata.normalize("NFC", sentence).translate(APOSTROPHES).lower()
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in plain)
    return " ".join(word for word in (word.strip("'") for word in kept.split()) if word)


def choose_language(corpus: Path, wanted: str, given: Path) -> str:
    """The language to prepare: the one wanted, the folder that was given, or the only one there.

    Raises:
        ValueError: If it is not there, has nothing to train on, or none was named; with what is.
    """
    there = [path.name for path in sorted(corpus.iterdir()) if _tables(path)]
    language = wanted or (given.name if given.name in there else "")
    if not language and len(there) == 1:
        language = there[0]
    if language not in there:
        problem = f"no {language}" if language else "several languages: name one with --language"
        raise ValueError(f"{corpus} has {problem}; there are {', '.join(there)}")
    counts = {table: sum(1 for _ in rows(table)) for table in _tables(corpus / language)}
    empty = [name for name in SETS if not counts.get(corpus / language / f"{name}.tsv")]
    if empty:
        found = ", ".join(f"{path.name} {count}" for path, count in counts.items())
        raise ValueError(
            f"{corpus / language} has no utterances in {', '.join(f'{n}.tsv' for n in empty)}; "
            f"utterances there: {found}. Small languages have few that are validated; "
            "recipes/own_data takes a table that you make of them"
        )
    return language


def _tables(folder: Path) -> list[Path]:
    return [path for name in TABLES if (path := folder / f"{name}.tsv").is_file()]


def rows(table: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Where a line is, and its fields by column.

    Raises:
        ValueError: If it is not UTF-8, or columns are missing.
    """
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = {"path", "sentence"} - set(reader.fieldnames or ())
            if missing:
                raise ValueError(f"{table}:1: no column {' and no '.join(sorted(missing))}")
            for number, row in enumerate(reader, 2):
                yield f"{table}:{number}", row
    except UnicodeDecodeError as error:
        raise ValueError(f"{table} is no text in UTF-8 ({error})") from None


def read_table(table: Path) -> tuple[list[Utterance], list[Skipped]]:
    """Utterances of a table in the order of their clips, and the lines that are none."""
    utterances, skipped, taken = [], [], set[str]()
    for where, row in rows(table):
        path, sentence = row["path"], row["sentence"]
        if not path or sentence is None:
            skipped.append(Skipped(path or "?", where, "wrong number of columns"))
            continue
        clip = table.parent / "clips" / path
        if not clip.suffix:  # early releases
            clip = clip.with_name(f"{clip.name}.mp3")
        text = text_rule(sentence)
        if clip.stem in taken or not text:
            reason = "id occurs twice" if clip.stem in taken else "transcript without words"
            skipped.append(Skipped(clip.stem, where, reason))
            continue
        taken.add(clip.stem)
        utterances.append(Utterance(clip.stem, clip, text, row.get("client_id") or None, where))
    return sorted(utterances, key=lambda u: u.name), skipped


def main() -> None:
    parser = corpus_parser(__doc__, RECIPE)
    parser.add_argument("--language", default="", help="its folder, such as cy or zh-TW")
    args = parser.parse_args()
    with corpus_command(args, RECIPE) as corpus:
        language = choose_language(corpus, args.language, args.corpus_dir)
        channels = Channels.of(args.channel, args.out_dir)
        for name in SETS:
            utterances, skipped = read_table(corpus / language / f"{name}.tsv")
            good, damaged = decode_all(utterances, args.num_jobs, name, channels)
            cuts = [cut_of(u, recording, language, channels) for u, recording in good]
            write_set(RECIPE, name, cuts, skipped + damaged, args.out_dir, args.max_bad_share)
        write_text(args.out_dir / "sets.txt", "\n".join(SETS))


if __name__ == "__main__":
    main()
