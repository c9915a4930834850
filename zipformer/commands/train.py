"""Trains a model, or goes on training it.

zipformer train recipe.toml [--key value ...]
"""

from __future__ import annotations

from collections.abc import Sequence

from zipformer.config.command_line import parse_args
from zipformer.training.loop import fit


def main(argv: Sequence[str], prog: str) -> None:
    """Trains as the words after the verb say."""
    fit(parse_args(argv, __doc__, prog))
