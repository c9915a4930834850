"""Manifests of WenetSpeech, read by lhotse.

The layout is WenetSpeech.json, with every recording and its segments, beside the recordings in
audio/. Of the subsets S, M and L one is trained on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lhotse.recipes import prepare_wenet_speech

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout as it is

from local.lib.corpus_command import corpus_command, corpus_parser
from local.lib.corpus_layouts import LAYOUTS
from local.lib.lhotse_corpus import reading, write_sets
from zipformer.tokens.scripts import without_blanks

RECIPE = "wenetspeech"
TESTS = {"dev": "DEV", "test-net": "TEST_NET", "test-meeting": "TEST_MEETING"}


def text_rule(text: str) -> str:
    """A transcript with Latin letters as capitals and no blanks between characters.

    Example:
        >>> text_rule("\u4f60 \u597d  hello")
        '\u4f60\u597d HELLO'
    """
    return without_blanks(" ".join(text.upper().split()))


def main() -> None:
    parser = corpus_parser(__doc__, RECIPE)
    parser.add_argument("--subset", choices=("S", "M", "L"), default="L", help="to train on")
    args = parser.parse_args()
    with corpus_command(args, RECIPE) as corpus:
        parts = {"train": args.subset, **TESTS}
        with reading(corpus, LAYOUTS[RECIPE].holds):
            found = prepare_wenet_speech(corpus, list(parts.values()), num_jobs=args.num_jobs)
        sets = {name: found[part] for name, part in parts.items()}
        write_sets(
            RECIPE, sets, args.out_dir, args.num_jobs, args.max_bad_share, text_rule, args.channel
        )


if __name__ == "__main__":
    main()
