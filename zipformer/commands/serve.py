"""Serves a trained model over websockets, in the protocol of sherpa-onnx's server.

zipformer serve exp/digits/unified --right 64 --port 6006
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import add_search_options, search_of
from zipformer.serving.running import quick_recognizer, serve_until_signal
from zipformer.serving.server import Limits, Server


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    limits = Limits()
    options.add_model_options(parser)
    options.add_context_options(parser)
    add_search_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: whoever can reach it")
    parser.add_argument("--port", type=int, default=6006, help="0 takes a free one")
    parser.add_argument("--max-connections", type=int, default=limits.max_connections)
    parser.add_argument("--max-batch", type=int, default=limits.max_batch, help="streams in a step")
    parser.add_argument(
        "--max-waiting-seconds", type=float, default=limits.max_waiting_seconds, help="of a client"
    )
    parser.add_argument("--idle-timeout", type=float, default=limits.idle_timeout, help="seconds")
    parser.add_argument("--no-provisional", action="store_true", help="only what is final")
    parser.add_argument("--threads", type=int, help="of PyTorch (default: as many as it likes)")


def run(args: Namespace) -> None:
    """Serves until a signal."""
    limits = Limits(
        max_connections=args.max_connections,
        max_batch=args.max_batch,
        max_waiting_seconds=args.max_waiting_seconds,
        idle_timeout=args.idle_timeout,
    )
    loaded = options.load(args)
    # Without any size it would be the whole utterance, which cannot stream.
    right = args.right or 0
    context = choose_contexts(loaded.config, None, args.chunk, args.left, right)[0]
    search = search_of(args, loaded.model)
    recognizer = quick_recognizer(loaded, context, search, args.threads)
    server = Server(recognizer, limits, not args.no_provisional)

    def started(uri: str) -> None:
        name = f"{loaded.label} of {loaded.path.resolve().parent}"
        print(f"{name}: {context.describe()}, latency {context.latency_ms} ms")
        print(f"listening on {uri}", flush=True)

    serve_until_signal(server, args.host, args.port, started)
