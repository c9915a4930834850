"""A small recognizer of spoken digits that was really trained, and digits for it to hear.

The weights in ``assets/digits`` are the average over the last epoch of the run whose figures stand
in ``recipes/digits/RESULTS.md``, written by ``scripts/export.py --format checkpoint``.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from lhotse import CutSet
from lhotse.cut import MonoCut

from zipformer.checkpoint.loading import LoadedModel, load_model

CHECKPOINT = Path(__file__).parent / "assets" / "digits" / "model.pt"
ROOT = Path(__file__).parent.parent
WORDS = "zero,one,two,three,four,five,six,seven,eight,nine"


@cache
def trained() -> LoadedModel:
    """The model; whoever changes it must copy it first."""
    return load_model(CHECKPOINT)


def write_strings(folder: Path, count: int = 20) -> Path:
    """Manifest of strings of 3 to 8 digits, of takes that training never heard."""
    command = [sys.executable, ROOT / "recipes/digits/make_strings.py", "--words", WORDS]
    command += ["--segments", ROOT / "recipes/digits/fsdd/segments.tsv", "--prefix", "digits"]
    command += ["--audio-dir", folder / "audio", "--out-dir", folder, "--length", "3-8"]
    command += ["--seed", "42", "--set", "test", "0-4", str(count)]
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    return folder / "digits_cuts_test.jsonl.gz"


def read_strings(manifest: Path) -> list[MonoCut]:
    return list(CutSet.from_file(manifest))
