"""Manifests of AISHELL-1, read by lhotse.

The layout is data_aishell/wav/{train,dev,test}/SPEAKER/UTTERANCE.wav beside
data_aishell/transcript/aishell_transcript_v0.8.txt, a line for each utterance: its id and words
with blanks between them, which are taken away.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lhotse.recipes import prepare_aishell

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.corpus_command import corpus_command, corpus_parser
from local.lib.corpus_layouts import LAYOUTS
from local.lib.lhotse_corpus import reading, write_sets

RECIPE = "aishell"


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
    args = corpus_parser(__doc__, RECIPE).parse_args()
    with corpus_command(args, RECIPE) as corpus:
        check_unpacked(corpus)
        with reading(corpus, LAYOUTS[RECIPE].holds):
            sets = prepare_aishell(corpus)
        write_sets(
            RECIPE, sets, args.out_dir, args.num_jobs, args.max_bad_share, channel=args.channel
        )


if __name__ == "__main__":
    main()
