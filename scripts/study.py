"""The same as ``zipformer study``, from a checkout as it is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from zipformer_cli import run_verb

if __name__ == "__main__":
    run_verb("study", sys.argv[1:], "study.py")
