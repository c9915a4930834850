"""Trains a model, or goes on training it: python scripts/train.py recipe.toml [--key value ...]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as it is

from zipformer.config.command_line import parse_args
from zipformer.training.loop import fit
from zipformer.training.step import NonFiniteError

if __name__ == "__main__":
    config = parse_args(sys.argv[1:], __doc__)
    try:
        fit(config)
    except (ValueError, FileNotFoundError, NonFiniteError) as error:
        sys.exit(f"error: {error}")
