"""Manifests of AISHELL-1, read by lhotse.

The layout is data_aishell/wav/{train,dev,test}/SPEAKER/UTTERANCE.wav beside
data_aishell/transcript/aishell_transcript_v0.8.txt, a line for each utterance: its id and words
with blanks between them, which are taken away.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lhotse.recipes import prepare_aishell

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.errors import one_line_errors
from local.lib.lhotse_corpus import reading, write_sets

LAYOUT = "data_aishell/wav and data_aishell/transcript, as the archive of OpenSLR (SLR33) has them"


def corpus_folder(folder: Path) -> Path:
    """The folder that holds data_aishell: the one given, or the one above it.

    Raises:
        FileNotFoundError: If it holds something else, saying what it looks like.
    """
    if (folder / "data_aishell").is_dir():
        return folder
    if folder.name == "data_aishell" and folder.is_dir():
        return folder.parent
    there = sorted(path.name for path in folder.iterdir())[:8] if folder.is_dir() else []
    what = f"it has {', '.join(there)}" if there else "there is nothing in it"
    if any(name.startswith(("train-", "dev-", "test-")) for name in there):
        what += ", which looks like LibriSpeech (recipes/librispeech)"
    raise FileNotFoundError(f"{folder} holds no AISHELL-1: {what}; it should hold {LAYOUT}")


def check_unpacked(corpus: Path) -> None:
    """Refuses a corpus whose archives of speakers lie in the folder wav as they came.

    Raises:
        ValueError: Saying how they are unpacked.
    """
    wav = corpus / "data_aishell" / "wav"
    if list(wav.glob("*.tar.gz")) and not (wav / "train").is_dir():
        raise ValueError(
            f"{wav} holds an archive for each speaker: unpack them there, as with "
            f"cd {wav} && for a in *.tar.gz; do tar xzf $a; done"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus-dir", type=Path, required=True, help="holds data_aishell")
    parser.add_argument("--out-dir", type=Path, required=True, help="for the manifests")
    parser.add_argument("--num-jobs", type=int, default=2)
    parser.add_argument("--max-bad-share", type=float, default=0.01, help="of a set")
    args = parser.parse_args()
    with one_line_errors(args.out_dir):
        args.out_dir.mkdir(parents=True, exist_ok=True)
        corpus = corpus_folder(args.corpus_dir)
        check_unpacked(corpus)
        with reading(corpus, LAYOUT):
            sets = prepare_aishell(corpus)
        write_sets("aishell", sets, args.out_dir, args.num_jobs, args.max_bad_share)


if __name__ == "__main__":
    main()
