"""Trains a model, or goes on training it.

zipformer train recipe.toml [--key value ...]
"""

from __future__ import annotations

from collections.abc import Sequence

from zipformer.commands.errors import one_line_errors
from zipformer.config.command_line import parse_args
from zipformer.training.launch import train
from zipformer.training.lost import ProcessLostError
from zipformer.training.step import NonFiniteError


def main(argv: Sequence[str], prog: str) -> None:
    """Runs the verb: ``argv`` follows it on the command line, ``prog`` is its name in errors."""
    config = parse_args(argv, __doc__, prog)
    with one_line_errors(NonFiniteError, ProcessLostError):
        train(config)
