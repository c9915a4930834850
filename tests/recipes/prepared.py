"""Running a prepare.sh in tests."""

import os
import subprocess
import sys
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"


def prepare(recipe: str, *options: str | Path, fails: bool = False) -> str:
    """What a recipe's prepare.sh prints; ``python`` is the one of the tests.

    Args:
        recipe: Name of the recipe.
        options: Of its prepare.sh.
        fails: Whether it has to fail.
    """
    done = subprocess.run(
        [RECIPES / recipe / "prepare.sh", *options],
        capture_output=True,
        text=True,
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "OMP_NUM_THREADS": "1",
        },
    )
    printed = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, printed
    assert "Traceback" not in printed
    return printed
