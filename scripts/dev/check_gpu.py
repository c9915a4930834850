"""The same as ``zipformer check-gpu``, from a checkout as it is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from zipformer_cli import run_verb

if __name__ == "__main__":
    run_verb("check-gpu", sys.argv[1:], "check_gpu.py")
