"""Turns sound files of any format and sample rate into text, with the time of every word.

python scripts/transcribe.py exp/digits a.wav b.flac --right 64 --srt
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.evaluation.subtitles import to_srt
from zipformer.evaluation.transcribe import Transcriber


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_model_options(parser)
    parser.add_argument("files", type=Path, nargs="+", help="wav, flac, mp3, ogg, opus, ...")
    options.add_context_options(parser)
    options.add_search_options(parser)
    parser.add_argument("--srt", action="store_true", help="subtitles, beside each file as .srt")
    parser.add_argument("--json", action="store_true", help="print one JSON object a file")
    args = parser.parse_args()
    failed = []
    with options.for_people():
        loaded = options.load(args)
        context = choose_contexts(loaded.config, None, args.chunk, args.left, args.right)[0]
        print(f"{loaded.label}, {context.describe()}", file=sys.stderr)
        transcriber = Transcriber(loaded, context, options.method_of(args, loaded.model))
        for path in args.files:
            try:
                transcript = transcriber.file(path)
            except ValueError as error:
                failed.append(path)
                print(f"error: {error}", file=sys.stderr)
                continue
            if args.json:
                print(json.dumps(transcript.to_dict(), ensure_ascii=False), flush=True)
            else:
                timed = (f"{w.start:.2f} {w.text}" for w in transcript.words)
                print(f"{path}\t{transcript.text}\n  [{' | '.join(timed)}]", flush=True)
            if args.srt:
                path.with_suffix(".srt").write_text(to_srt(transcript.words), encoding="utf-8")
                print(f"subtitles: {path.with_suffix('.srt')}", file=sys.stderr)
    if failed:
        sys.exit(f"{len(failed)} of {len(args.files)} files could not be transcribed")


if __name__ == "__main__":
    main()
