"""Listens to the microphone and writes the words into the terminal as they come.

zipformer listen exp/digits/unified --right 64

What is final is written plainly, what may still change is dim. Ctrl-C ends it.
"""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import TextIO

import numpy as np

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.fast_steps import fast_recognizer
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import (
    add_hotwords_options,
    add_search_options,
    search_of,
)
from zipformer.streaming import Recognizer, StreamResult
from zipformer.streaming.microphone import microphone

DIM, PLAIN, CLEAR = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    options.add_model_options(parser)
    options.add_context_options(parser)
    add_search_options(parser)
    add_hotwords_options(parser)
    parser.add_argument("--mic", help="name or number, of those that 'python -m sounddevice' lists")


def run(args: Namespace) -> None:
    """Listens until Ctrl-C."""
    loaded = options.load(args)
    (context,) = choose_contexts(
        loaded.config,
        None,
        args.chunk,
        args.left,
        args.right or 0,  # a size, so that it streams
    )
    loaded.check_context(context, live=True)
    recognizer = fast_recognizer(loaded, context, search_of(args, loaded.model, loaded.tokenizer))
    with microphone(recognizer.sample_rate, args.mic) as pieces:
        print(f"{context.describe()}, latency {context.latency_ms} ms. Speak; Ctrl-C ends.")
        listen(recognizer, pieces, sys.stdout)


def listen(recognizer: Recognizer, pieces: Iterable[np.ndarray], screen: TextIO) -> StreamResult:
    """Shows what is heard until the pieces end or somebody presses Ctrl-C.

    Args:
        recognizer: At a context that streams.
        pieces: Of (N,) samples.
        screen: Where to write; what may change is shown on terminals alone.
    """
    stream = recognizer.open()
    try:
        for piece in pieces:
            before = stream.text, stream.provisional
            stream.push(piece)
            if screen.isatty() and (stream.text, stream.provisional) != before:
                screen.write(CLEAR + fitted(stream.text, stream.provisional, _columns()))
                screen.flush()
    except KeyboardInterrupt:
        pass
    result = stream.close()
    print(f"{CLEAR if screen.isatty() else ''}{result.text}", file=screen)
    return result


def fitted(text: str, provisional: str, columns: int) -> str:
    """The end of a line that fits into a terminal, what may change dim."""
    room = max(0, columns - 1)
    provisional = provisional[:room]
    left = room - len(provisional)
    return f"{text[max(0, len(text) - left) :] if left else ''}{DIM}{provisional}{PLAIN}"


def _columns() -> int:
    return shutil.get_terminal_size().columns
