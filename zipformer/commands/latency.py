"""When words come: delays against the end of speech, the real-time factor, a live server's answer.

zipformer latency exp/digits/unified --contexts "32/256/0 32/256/64" --limit 50 --live
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice, product
from pathlib import Path

import torch

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.fast_steps import fast_recognizer
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.commands.search_options import add_search_options, search_of
from zipformer.data.manifests import read_cuts
from zipformer.evaluation.table import to_markdown
from zipformer.evaluation.test_sets import choose_sets
from zipformer.serving.latency import ask_server, latency_table, measure, write_latencies
from zipformer.serving.running import serving


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    options.add_model_options(parser)
    parser.add_argument("--contexts", required=True, help="as in '32/256/0 32/256/64'")
    parser.add_argument("--sets", help="names in the run's config, or name=manifest (default: all)")
    parser.add_argument("--limit", type=int, help="only the first so many cuts of a set")
    add_search_options(parser)
    parser.add_argument("--speech-end", choices=["energy", "alignment"], default="energy")
    parser.add_argument("--silence", type=float, default=0.0, help="seconds after each utterance")
    parser.add_argument("--live", action="store_true", help="also ask a server, started here")
    parser.add_argument("--uri", help="also ask this server, which serves the only context given")
    parser.add_argument("--calls", type=int, default=20, help="to the server, at real-time pace")
    parser.add_argument("--tail-seconds", type=float, default=0.0, help="of silence, for --uri")
    parser.add_argument("--json", type=Path, help="default: latency.json in the run's folder")


def run(args: Namespace) -> None:
    """Measures every set at every context, and prints the table."""
    loaded = options.load(args)
    contexts = choose_contexts(loaded.config, args.contexts)
    if args.uri and (args.live or len(contexts) > 1):
        raise ValueError("--uri is one server with one context: give only that, no --live")
    sets = choose_sets(loaded.config, args.sets)
    search = search_of(args, loaded.model, loaded.tokenizer)
    torch.set_num_threads(1)  # what a core carries
    rows = []
    for (name, path), context in product(sets.items(), contexts):
        cuts = list(islice(read_cuts(path), args.limit))
        recognizer = fast_recognizer(loaded, context, search, threads=1)
        row = measure(recognizer, name, cuts, args.speech_end == "alignment", args.silence)
        with serving(recognizer) if args.live else nullcontext(args) as server:
            if server.uri:
                row = ask_server(row, server.uri, cuts, args.calls, args.tail_seconds)
        rows.append(row)
    write_latencies(args.json or loaded.path.parent / "latency.json", rows)
    print(to_markdown(latency_table(rows)))
