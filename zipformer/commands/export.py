"""Writes a trained model as files for other runtimes, checked against PyTorch.

zipformer export exp/digits --epoch 30 --avg 9 --chunk 32 --left 256 --right 64 --offline

ONNX files run in sherpa-onnx as they are; the README.txt beside them says how. A checkpoint is the
model as one small file, without what only training needs. With --format icefall its parameters have
the names that the icefall recipes and the package of the network's authors load.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from zipformer.commands import options
from zipformer.commands.contexts import choose_contexts
from zipformer.commands.parser import VerbParser, read_arguments
from zipformer.export import Options, export_weights
from zipformer.export.options import Head
from zipformer.export.published import export_published
from zipformer.export.report import export_checked, load_speech


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    run(read_arguments(argv, prog, __doc__, add_arguments))


def add_arguments(parser: VerbParser) -> None:
    """What the verb can be asked for."""
    options.add_model_options(parser)
    options.add_context_options(parser)
    parser.add_argument("--format", choices=["onnx", "checkpoint", "icefall"], default="onnx")
    parser.add_argument(
        "--head",
        choices=get_args(Head),
        help="which head (default: the transducer, or CTC where there is none)",
    )
    parser.add_argument("--int8", action="store_true", help="also with weights of 8 bits")
    parser.add_argument("--float16", action="store_true", help="streams also in half precision")
    parser.add_argument(
        "--offline",
        action="store_true",
        help="also for whole utterances, into the folder offline below; without --chunk only that",
    )
    parser.add_argument("--out", type=Path, help="folder (default: export/... below the run's)")
    parser.add_argument("--sets", help="recordings to check with (default: the run's first)")
    parser.add_argument("--limit", type=int, default=20, help="check with so many cuts; 0 = all")


def run(args: Namespace) -> None:
    """Writes the files, and prints what the check found."""
    loaded = options.load(args)
    (context,) = choose_contexts(loaded.config, None, args.chunk, args.left, args.right)
    ctc = "-ctc" if args.head == "ctc" and loaded.config.model.transducer else ""
    name = context.slug + ctc if args.format == "onnx" else args.format
    out = args.out or loaded.path.parent / "export" / f"{loaded.label}-{name}"
    if args.format != "onnx":
        write = export_weights if args.format == "checkpoint" else export_published
        print(write(loaded, out))
        return
    speech = load_speech(loaded.config, args.sets, args.limit)
    head: Head = args.head or ("transducer" if loaded.config.model.transducer else "ctc")
    wanted = Options(head, args.int8, args.float16)
    for line in export_checked(loaded, context, out, speech, wanted, args.offline):
        print(line, flush=True)
