"""Turns sound files of any format and sample rate into text, with the time of every word.

zipformer transcribe exp/digits a.wav b.flac --right 64 --srt
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import add_search_options, search_of
from zipformer.evaluation.subtitles import to_srt
from zipformer.evaluation.transcribe import Transcriber
from zipformer.files import write_text


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    options.add_model_options(parser)
    parser.add_argument("files", type=Path, nargs="+", help="wav, flac, mp3, ogg, opus, ...")
    options.add_context_options(parser)
    add_search_options(parser)
    parser.add_argument("--srt", action="store_true", help="subtitles, beside each file as .srt")
    parser.add_argument("--json", action="store_true", help="print one JSON object a file")


def run(args: Namespace) -> None:
    """Prints what is said in each file; goes on after one that cannot be read."""
    loaded = options.load(args)
    context = choose_contexts(loaded.config, None, args.chunk, args.left, args.right)[0]
    print(f"{loaded.label}, {context.describe()}", file=sys.stderr)
    transcriber = Transcriber(loaded, context, search_of(args, loaded.model))
    failed = 0
    for path in args.files:
        try:
            transcript = transcriber.file(path)
        except ValueError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
            continue
        if args.json:
            print(json.dumps(transcript.to_dict(), ensure_ascii=False), flush=True)
        else:
            timed = (f"{w.start:.2f} {w.text}" for w in transcript.words)
            print(f"{path}\t{transcript.text}\n  [{' | '.join(timed)}]", flush=True)
        if args.srt:
            write_text(path.with_suffix(".srt"), to_srt(transcript.words))
            print(f"subtitles: {path.with_suffix('.srt')}", file=sys.stderr)
    if failed:
        sys.exit(f"{failed} of {len(args.files)} files could not be transcribed")
