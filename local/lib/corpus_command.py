"""What the commands that read a corpus share: their options, and how they end."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.lib.channels import add_channel_option
from local.lib.corpus_layouts import LAYOUTS, corpus_folder
from local.lib.errors import one_line_errors


def corpus_parser(doc: str, recipe: str) -> argparse.ArgumentParser:
    """A parser with the options of every corpus.

    Args:
        doc: Docstring of the command; its first line becomes the help.
        recipe: Which of ``LAYOUTS`` it reads.
    """
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument(
        "--corpus-dir", type=Path, required=True, help=f"holds {LAYOUTS[recipe].holds}"
    )
    parser.add_argument("--out-dir", type=Path, required=True, help="for the manifests")
    parser.add_argument("--num-jobs", type=int, default=2)
    parser.add_argument("--max-bad-share", type=float, default=0.01, help="of a set")
    add_channel_option(parser)
    return parser


@contextmanager
def corpus_command(args: argparse.Namespace, recipe: str) -> Iterator[Path]:
    """Gives the top folder of the corpus; what is raised inside ends the command in one line.

    Args:
        args: Of ``corpus_parser``.
        recipe: Which of ``LAYOUTS`` it reads.
    """
    with one_line_errors(args.out_dir):
        args.out_dir.mkdir(parents=True, exist_ok=True)
        (args.out_dir / "sets.txt").unlink(missing_ok=True)  # an earlier list is no longer true
        yield corpus_folder(args.corpus_dir, recipe)
