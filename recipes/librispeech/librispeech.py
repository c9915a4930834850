"""Manifests of LibriSpeech, and of corpora in its layout, in lhotse's types.

The layout is PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt with one line per utterance, an id and
its text, and the audio beside it as ID.flac, .wav, .opus, .ogg or .mp3. Whatever parts are there
are taken. Every part gives librispeech_{recordings,supervisions,cuts}_PART.jsonl.gz. Without a
training part dev-clean is divided by speaker into the sets mini-train, mini-valid and mini-test.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lhotse import MonoCut

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.audio_files import SUFFIXES, Utterance, cut_of, decode_all
from local.lib.errors import one_line_errors
from local.lib.manifest_lines import write_items
from local.lib.set_manifests import described, manifest, write_set
from local.lib.skipped import Skipped
from zipformer.files import write_text

PARTS = (
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
)
TRANSCRIPTS = ".trans.txt"
MINI_SOURCE = "dev-clean"
MINI_SPEAKERS = {"mini-valid": {"84", "174"}, "mini-test": {"1272", "1462"}}


@dataclass
class Part:
    """What the files of a part say, before any audio is decoded."""

    utterances: list[Utterance] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def corpus_folder(folder: Path) -> Path:
    """The folder that holds the parts: the one given, or LibriSpeech in it.

    Raises:
        FileNotFoundError: If neither is there.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"corpus folder {folder} not found: give the folder that holds dev-clean, test-clean "
            "and so on with --corpus-dir"
        )
    inner = folder / "LibriSpeech"
    return inner if inner.is_dir() else folder


def find_parts(corpus: Path, wanted: Sequence[str] = ()) -> list[str]:
    """The parts in a corpus folder, in the order of their names; prints what there is and is not.

    Raises:
        FileNotFoundError: If one that was asked for is not there, or there is none at all.
    """
    folders = sorted(f for f in corpus.iterdir() if f.is_dir())
    found = [f.name for f in folders if any(map(_belongs, f.glob("*/*/*")))]
    for name in (f.name for f in folders if f.name not in found):
        print(f"skipped: {corpus / name}: no SPEAKER/CHAPTER folders with audio or transcripts")
    missing = [name for name in wanted if name not in found]
    if missing:
        raise FileNotFoundError(
            f"{corpus} has no {', '.join(missing)}; it has: {', '.join(found) or 'no parts'}"
        )
    if not found:
        raise FileNotFoundError(
            f"{corpus} holds no part of LibriSpeech: no PART/SPEAKER/CHAPTER folders with audio "
            "or transcripts"
        )
    taken = [name for name in found if name in wanted] if wanted else found
    print(f"found in {corpus}: {', '.join(found)}")
    for title, names in (
        ("not asked for", [name for name in found if name not in taken]),
        ("not there", [name for name in PARTS if name not in found]),
    ):
        if names:
            print(f"skipped, {title}: {', '.join(names)}")
    return taken


def _belongs(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or path.name.endswith(TRANSCRIPTS)


def read_part(folder: Path) -> Part:
    """Pairs transcript lines with audio files, in the order of their ids."""
    part = Part()
    taken: set[str] = set()
    for chapter in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        _read_chapter(chapter, part, taken)
    part.utterances.sort(key=lambda u: u.name)
    return part


def _read_chapter(chapter: Path, part: Part, taken: set[str]) -> None:
    audio, transcripts = _files(chapter, part)
    named = set()
    for path in transcripts:
        for number, line in enumerate(_text(path).splitlines(), 1):
            if not line.strip():
                continue
            name, _, text = line.strip().partition(" ")
            where = f"{path}:{number}"
            reason = _fault(name, text, audio, taken)
            named.add(name)
            if reason:
                part.skipped.append(Skipped(name, where, reason))
                continue
            taken.add(name)
            text = " ".join(text.split())
            part.utterances.append(Utterance(name, audio[name], text, chapter.parent.name, where))
    reason = "audio without a line in the transcript file" if transcripts else "no transcript file"
    for name in sorted(set(audio) - named):
        wanted = "" if transcripts else f"{chapter.parent.name}-{chapter.name}{TRANSCRIPTS}"
        part.skipped.append(Skipped(name, str(audio[name]), reason, wanted))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error})") from None


def _fault(name: str, text: str, audio: dict[str, Path], taken: set[str]) -> str:
    if name in taken:
        return "id occurs twice"
    if name not in audio:
        return "transcript without an audio file"
    return "" if text.strip() else "transcript without words"


def _files(chapter: Path, part: Part) -> tuple[dict[str, Path], list[Path]]:
    """Audio by id, and transcript files; two files of one id are one too many."""
    audio: dict[str, Path] = {}
    files = sorted(chapter.iterdir())
    for suffix in SUFFIXES:
        for path in (f for f in files if f.suffix.lower() == suffix):
            if path.stem in audio:
                other = audio[path.stem].name
                skipped = Skipped(path.stem, str(path), "second audio file of an id", other)
                part.skipped.append(skipped)
            else:
                audio[path.stem] = path
    return audio, [f for f in files if f.name.endswith(TRANSCRIPTS)]


def prepare_part(
    corpus: Path, name: str, out_dir: Path, num_jobs: int, max_bad_share: float
) -> list[MonoCut]:
    """Writes the manifests of a part.

    Returns:
        Its cuts, in the order of their ids.

    Raises:
        ValueError: If too much of it cannot be used.
    """
    part = read_part(corpus / name)
    good, damaged = decode_all(part.utterances, num_jobs, name)
    skipped = part.skipped + damaged
    cuts = [cut_of(utterance, recording, "English") for utterance, recording in good]
    write_set("librispeech", name, cuts, skipped, out_dir, max_bad_share, str(corpus / name))
    return cuts


def divide(cuts: Sequence[MonoCut]) -> dict[str, list[MonoCut]]:
    """mini-train, mini-valid and mini-test by speaker; nothing if one of them would be empty."""
    sets: dict[str, list[MonoCut]] = {"mini-train": [], **{name: [] for name in MINI_SPEAKERS}}
    for cut in cuts:
        speaker = cut.supervisions[0].speaker
        name = next((n for n, s in MINI_SPEAKERS.items() if speaker in s), "mini-train")
        sets[name].append(cut)
    return sets if all(sets.values()) else {}


def prepare(
    corpus: Path, wanted: Sequence[str], out_dir: Path, num_jobs: int, max_bad_share: float
) -> list[str]:
    """Writes the manifests of all parts; returns the names of the sets."""
    parts = find_parts(corpus, wanted)
    sets = list(parts)
    mini_source: list[MonoCut] = []
    for name in parts:
        cuts = prepare_part(corpus, name, out_dir, num_jobs, max_bad_share)
        mini_source = cuts if name == MINI_SOURCE else mini_source
        del cuts  # one part at a time: a large one takes hundreds of megabytes
    if not any(name.startswith("train") for name in parts):
        mini = divide(mini_source)
        for name, chosen in mini.items():
            write_items(manifest(out_dir, "librispeech", "cuts", name), chosen)
            print(f"{described(name, chosen)} (of {MINI_SOURCE}; there is no training part)")
        sets += mini
    for path in sorted(out_dir.glob("librispeech_cuts_*.jsonl.gz")):
        name = path.name.removeprefix("librispeech_cuts_").removesuffix(".jsonl.gz")
        if name not in sets:
            print(f"{path}: left from an earlier preparation, not part of this one")
    return sets


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--corpus-dir", type=Path, required=True, help="folder that holds the parts"
    )
    parser.add_argument("--parts", nargs="*", default=[], help="only these; else all there are")
    parser.add_argument("--out-dir", type=Path, required=True, help="for the manifests")
    parser.add_argument("--num-jobs", type=int, default=2)
    parser.add_argument(
        "--max-bad-share", type=float, default=0.01, help="of a part that may be left out"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with one_line_errors(args.out_dir):
        args.out_dir.mkdir(parents=True, exist_ok=True)
        sets_file = args.out_dir / "sets.txt"
        sets_file.unlink(missing_ok=True)  # an earlier list is no longer true
        corpus = corpus_folder(args.corpus_dir)
        sets = prepare(corpus, args.parts, args.out_dir, args.num_jobs, args.max_bad_share)
        write_text(sets_file, "\n".join(sets))


if __name__ == "__main__":
    main()
