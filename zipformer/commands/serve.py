"""Serves a trained model over websockets, in the protocol of sherpa-onnx's server.

zipformer serve exp/digits/unified --port 6006
zipformer serve exp/digits/unified --right 64

Several contexts are offered, of one model that is loaded once; a client picks one in the address,
as in ws://localhost:6006/?right=64, and gets the first one if it does not.
"""

from __future__ import annotations

import os
import ssl
import sys
import webbrowser
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from zipformer.checkpoint.loading import LoadedModel
from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.eight_bits import word_error_line
from zipformer.commands.errors import one_line_errors, show_warnings
from zipformer.commands.fast_steps import fast_recognizer
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import (
    add_hotwords_options,
    add_search_options,
    search_of,
)
from zipformer.context import Context, parse_contexts
from zipformer.serving.board import Board
from zipformer.serving.dealt_socket import DealtSocket, Seat
from zipformer.serving.front import serve_in_processes
from zipformer.serving.limits import Limits
from zipformer.serving.offer import FULL, SIZES, Offer
from zipformer.serving.pages import Pages
from zipformer.serving.recordings import Recordings
from zipformer.serving.running import serve_until_signal
from zipformer.serving.server import Server
from zipformer.streaming import Endpoint, Recognizer
from zipformer.training.launch import usable_cores

OFFERED = "32/256/0 32/256/64 64/256/128"
PAGE = "page: "


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    limits = Limits()
    options.add_model_options(parser)
    parser.add_argument(
        "--contexts", help=f"that clients may choose; the first by default (default: {OFFERED})"
    )
    options.add_context_options(parser)
    add_search_options(parser)
    add_hotwords_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: whoever can reach it")
    parser.add_argument("--port", type=int, default=6006, help="0 takes a free one")
    parser.add_argument("--max-connections", type=int, default=limits.max_connections)
    parser.add_argument("--max-batch", type=int, default=limits.max_batch, help="streams in a step")
    parser.add_argument(
        "--max-waiting-seconds", type=float, default=limits.max_waiting_seconds, help="of a client"
    )
    parser.add_argument("--idle-timeout", type=float, default=limits.idle_timeout, help="seconds")
    _add_endpoint_options(parser)
    parser.add_argument("--no-provisional", action="store_true", help="only what is final")
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="that share the clients, each with the model in memory (default: 1; for many clients, "
        "one a core)",
    )
    parser.add_argument("--threads", type=int, help="of a step (default: one a core)")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="weights of 8 bits: faster, and not quite the same words",
    )
    parser.add_argument(
        "--recordings",
        type=Path,
        metavar="DIR",
        help="to try on the page: sound files, NAME.txt with their words, about.txt with what the "
        "model knows (default: recordings beside the model)",
    )
    parser.add_argument(
        "--keep-audio", type=Path, metavar="DIR", help="keep what every client says as a WAV file"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser here")
    parser.add_argument("--tls-cert", type=Path, help="certificate (PEM); clients then say wss://")
    parser.add_argument("--tls-key", type=Path, help="its key, if that is in another file")


def _add_endpoint_options(parser: VerbParser) -> None:
    """When segments of endless streams end."""
    parser.add_argument(
        "--endpoint-silence",
        type=float,
        metavar="S",
        help="end a segment when nothing was said for so many seconds (default: never)",
    )
    parser.add_argument(
        "--endpoint-longest",
        type=float,
        metavar="S",
        help="end a segment that is so many seconds long, in a word even (default: never)",
    )
    parser.add_argument(
        "--endpoint-reset",
        action="store_true",
        help="begin a segment as if nothing had been heard before; else the words are the same as "
        "without segments",
    )


def run(args: Namespace) -> None:
    """Serves until a signal."""

    def started(text: str) -> None:
        print(text, flush=True)
        if args.open:
            _open_browser(text)

    if args.processes < 1:
        raise ValueError(f"--processes {args.processes}: at least one has to serve")
    if args.processes == 1:
        server, describe = _server(args, Board())
        serve_until_signal(server, args.host, args.port, lambda uri: started(describe(uri)))
    else:
        args.threads = args.threads or max(1, usable_cores() // args.processes)
        work = partial(_serve_dealt, args)
        serve_in_processes(args.processes, work, args.host, args.port, started)


def _serve_dealt(args: Namespace, seat: Seat) -> None:
    """One of several processes."""
    show_warnings()
    with one_line_errors():
        server, describe = _server(args, seat.board)
        dealt = DealtSocket(seat)
        serve_until_signal(server, "", 0, lambda uri: dealt.tell(describe(uri)), dealt)


def _server(args: Namespace, board: Board) -> tuple[Server, Callable[[str], str]]:
    """A server as it is asked for, and what to say of it at its address."""
    limits = Limits(
        max_connections=args.max_connections,
        max_batch=args.max_batch,
        max_waiting_seconds=args.max_waiting_seconds,
        idle_timeout=args.idle_timeout,
    ).share(args.processes, board.row)
    tls = _tls(args.tls_cert, args.tls_key)
    loaded = options.load(args)
    contexts = _contexts(args, loaded)
    search = search_of(args, loaded.model, loaded.tokenizer)
    if args.threads:
        torch.set_num_threads(args.threads)

    def make(context: Context) -> Recognizer:
        return fast_recognizer(loaded, context, search, args.threads or 0, args.int8)

    folder = loaded.path.resolve().parent
    recordings = Recordings.of(args.recordings or folder / "recordings")
    offer = Offer(contexts, make, not args.no_provisional)
    if args.int8 and contexts[0].streams and board.row == 0:
        first = offer.recognizer(offer.default)
        assert first is not None, "an offer has made it"
        print(word_error_line(Recognizer.of(loaded, contexts[0], search), first, recordings))
    server = Server(
        offer,
        limits,
        tls,
        Pages(f"{loaded.label} of {folder.name}", recordings),
        args.keep_audio,
        Endpoint(args.endpoint_silence, args.endpoint_longest, args.endpoint_reset),
        board,
    )

    def describe(uri: str) -> str:
        lines = [f"{loaded.label} of {folder}"]
        for context in contexts:
            choice = "" if context == contexts[0] else _query(context, contexts)
            latency = "words at the end" if context.is_full else f"latency {context.latency_ms} ms"
            lines.append(f"  {uri}/{choice}: {context.describe()}, {latency}")
        lines.append(f"{PAGE}{uri.replace('ws', 'http', 1)}")
        if args.processes > 1:
            lines.append(f"{args.processes} processes, threads in each: {args.threads}")
        return "\n".join([*lines, f"listening on {uri}"])

    return server, describe


def _open_browser(text: str) -> None:
    """Opens the page where there is a screen; programs for terminals would stop the server."""
    page = next(line for line in text.splitlines() if line.startswith(PAGE)).removeprefix(PAGE)
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen or sys.platform in ("darwin", "win32"):
        webbrowser.open(page)


def _contexts(args: Namespace, loaded: LoadedModel) -> list[Context]:
    """What is offered: what was asked for, or what the model can compute of the usual ones."""
    sizes = args.chunk, args.left, args.right
    if any(size is not None for size in sizes):
        # Without any size it would be the whole utterance, which cannot stream.
        contexts = choose_contexts(
            loaded.config, args.contexts, args.chunk, args.left, args.right or 0
        )
    elif args.contexts:
        contexts = choose_contexts(loaded.config, args.contexts)
    else:
        contexts = [c for c in parse_contexts(OFFERED) if _fits(c, loaded)]
        contexts = contexts or choose_contexts(loaded.config, right=0)
    for context in contexts:
        loaded.check_context(context, live=not context.is_full)
    return contexts


def _fits(context: Context, loaded: LoadedModel) -> bool:
    try:
        loaded.config.encoder.check_context(context)
    except ValueError:
        return False
    return True


def _query(context: Context, contexts: Sequence[Context]) -> str:
    """The shortest address that picks a context: what no earlier one has."""
    if context.is_full:
        return f"?chunk={FULL}"
    for key in SIZES:
        value = getattr(context, key)
        if all(getattr(c, key) != value for c in contexts[: contexts.index(context)]):
            return f"?{key}={value}"
    return "?" + "&".join(f"{key}={getattr(context, key)}" for key in SIZES)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What ``wss`` needs; None without a certificate.

    Raises:
        ValueError: If the files are not there, no certificate and key, or do not belong together.
    """
    if certificate is None:
        if key is not None:
            raise ValueError(f"--tls-key {key} needs --tls-cert, the certificate")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # also what ssl raises
        files = f"{certificate} and {key}" if key else str(certificate)
        raise ValueError(f"no certificate with its key in {files}: {error}") from None
    return context
