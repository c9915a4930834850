"""Turns sound files of any format and sample rate into text, with the time of every word.

zipformer transcribe exp/digits a.wav b.flac --right 64 --srt
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import torch

from zipformer.checkpoint.loading import LoadedModel
from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.errors import show_warnings
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import (
    add_hotwords_options,
    add_search_options,
    search_of,
)
from zipformer.context import Context
from zipformer.data.sound_files import num_channels
from zipformer.evaluation.subtitles import to_srt
from zipformer.evaluation.transcribe import Transcriber, Transcript
from zipformer.files import check_writable, write_text


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    options.add_model_options(parser)
    parser.add_argument("files", type=Path, nargs="+", help="wav, flac, mp3, ogg, opus, ...")
    options.add_context_options(parser)
    add_search_options(parser)
    add_hotwords_options(parser)
    parser.add_argument("--srt", action="store_true", help="subtitles, beside each file as .srt")
    parser.add_argument("--json", action="store_true", help="print one JSON object a file")
    parser.add_argument(
        "--channel",
        type=parse_channel,
        default="mean",
        metavar="N|each|mean",
        help="of files with several: one of them, from 0; each apart; their average (the default)",
    )
    parser.add_argument(
        "--num-jobs", type=int, default=1, metavar="N", help="files at a time (default: 1)"
    )


def run(args: Namespace) -> None:
    """Prints what is said in each file; goes on after one that cannot be read."""
    loaded = options.load(args)
    context = choose_contexts(loaded.config, None, args.chunk, args.left, args.right)[0]
    print(f"{loaded.label}, {context.describe()}", file=sys.stderr)
    subtitles = subtitle_paths(args.files) if args.srt else {}
    for folder in dict.fromkeys(path.parent for path in subtitles.values()):
        check_writable(folder, "subtitles go beside their files; copy these, or leave out --srt")
    failed = 0
    with _outcomes(args, loaded, context) as outcomes:
        for path, outcome in zip(args.files, outcomes, strict=True):
            if isinstance(outcome, str):
                failed += 1
                print(f"error: {outcome}", file=sys.stderr)
                continue
            for transcript in outcome:
                _show(transcript, args.json)
            if args.srt:
                _write_subtitles(outcome, subtitles[path])
    if failed:
        sys.exit(f"{failed} of {len(args.files)} files could not be transcribed")


def parse_channel(text: str) -> int | str:
    """A number, ``each`` or ``mean``, for argparse."""
    if text.isdecimal():
        return int(text)
    if text not in ("each", "mean"):
        raise ArgumentTypeError(f"{text!r}: write the number of a channel, each or mean")
    return text


def subtitle_paths(files: Sequence[Path]) -> dict[Path, Path]:
    """Where the subtitles of each file go: none overwrites those of another."""
    short = {path: path.with_suffix(".srt") for path in files}
    whole = {path: path.with_name(f"{path.name}.srt") for path in files}
    counts = Counter(short.values())
    taken = {*short.values(), *whole.values()}

    def is_free(target: Path) -> bool:
        stem, number = target.with_suffix(""), target.with_suffix("").suffix[1:]
        of_channel = number.isdecimal() and stem.with_suffix(".srt") in taken
        return counts[target] == 1 and target not in whole.values() and not of_channel

    return {path: short[path] if is_free(short[path]) else whole[path] for path in files}


def _show(transcript: Transcript, as_json: bool) -> None:
    if as_json:
        print(json.dumps(transcript.to_dict(), ensure_ascii=False), flush=True)
        return
    name = transcript.file
    if transcript.channel is not None:
        name += f" [channel {transcript.channel}]"
    timed = (f"{w.start:.2f} {w.text}" for w in transcript.words)
    print(f"{name}\t{transcript.text}\n  [{' | '.join(timed)}]", flush=True)


def _write_subtitles(transcripts: Sequence[Transcript], path: Path) -> None:
    for transcript in transcripts:
        target = path
        if len(transcripts) > 1:
            target = path.with_suffix(f".{transcript.channel}.srt")
        write_text(target, to_srt(transcript.words))
        print(f"subtitles: {target}", file=sys.stderr)


# What became of a file: one transcript, or one for each channel; or what is wrong with it.
Outcome = list[Transcript] | str


@contextmanager
def _outcomes(
    args: Namespace, loaded: LoadedModel, context: Context
) -> Iterator[Iterator[Outcome]]:
    """Of all files in their order, each as soon as it and those before it are done."""
    if args.num_jobs < 2 or len(args.files) < 2:
        transcriber = Transcriber(loaded, context, search_of(args, loaded.model, loaded.tokenizer))
        yield (hear(transcriber, path, args.channel) for path in args.files)
        return
    count = min(args.num_jobs, len(args.files))
    pool = ProcessPoolExecutor(
        count,
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(args, context, max(1, torch.get_num_threads() // count)),
    )
    try:
        waiting = [(path, pool.submit(_hear_there, path, args.channel)) for path in args.files]
        yield (_outcome_of(path, future) for path, future in waiting)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()  # it may be in the middle of an hour
        raise
    pool.shutdown()


def _outcome_of(path: Path, future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:  # of all files that are not done then
        return (
            f"{path}: not heard, for a process was ended from outside, as where memory runs out; "
            "transcribe it again with fewer --num-jobs"
        )


def hear(transcriber: Transcriber, path: Path, channel: int | str) -> Outcome:
    """The transcripts of a file, or what is wrong with it."""
    try:
        if channel != "each":
            return [transcriber.file(path, channel if isinstance(channel, int) else None)]
        return [transcriber.file(path, number) for number in range(num_channels(path))]
    except ValueError as error:
        return str(error)
    except (MemoryError, torch.OutOfMemoryError):
        return f"{path}: memory ran out; choose a context that streams (--right 64), or fewer jobs"


_own: list[Transcriber] = []  # of a worker process


def _begin(args: Namespace, context: Context, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends the others
    show_warnings()
    torch.set_num_threads(threads)
    loaded = options.load(args, sys.stderr)
    _own.append(Transcriber(loaded, context, search_of(args, loaded.model, loaded.tokenizer)))


def _hear_there(path: Path, channel: int | str) -> Outcome:
    return hear(_own[0], path, channel)
