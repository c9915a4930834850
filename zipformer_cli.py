"""The command ``zipformer``: lists the verbs, and calls one of ``zipformer/commands``.

It stands outside of the package, as do ``scripts/*.py``, which call it too: it looks at which
package ``zipformer`` would be imported before anything of it is, because the package index has
another project of that name. It imports only the standard library itself, so ``zipformer --help``
does not wait for PyTorch.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

VERBS = [
    "train",
    "decode",
    "compare",
    "study",
    "report",
    "adopt",
    "transcribe",
    "export",
    "serve",
    "listen",
    "latency",
    "loadtest",
    "check-gpu",
]
# For how many shapes of input oneDNN, and PyTorch around it, keep a convolution prepared. They read
# this once, the second while PyTorch is imported; 1024 is what both would take.
SHAPES_KEPT = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}
OWN_FIRST_LINE = "One Zipformer speech recognizer that streams and works offline from the same"


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point: ``zipformer VERB ...``; ``argv`` is what follows the name ``zipformer``."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        print(overview(find_package()), file=sys.stderr)
        sys.exit(2)
    verb, *rest = words
    if verb in ("-h", "--help"):
        print(overview(find_package()))
    elif verb in VERBS:
        run_verb(verb, rest, f"zipformer {verb}")
    else:
        kind = "option" if verb.startswith("-") else "verb"
        near = difflib.get_close_matches(verb, [*VERBS, "--help"], n=3)
        advice = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(VERBS)}"
        print(f"zipformer: error: {verb}: unknown {kind}; {advice}", file=sys.stderr)
        sys.exit(2)


def run_verb(verb: str, argv: Sequence[str], prog: str) -> None:
    """Runs one verb; a mistake of the user ends the program with one line.

    Args:
        verb: One of ``VERBS``.
        argv: What follows it on the command line.
        prog: What the program is called in its help and its errors.
    """
    find_package()
    if verb == "train":
        keep_few_shapes()
    from zipformer.commands.errors import one_line_errors  # not before find_package

    with one_line_errors():
        importlib.import_module(f"zipformer.commands.{_module(verb)}").main(argv, prog)


def keep_few_shapes() -> None:
    """Lets PyTorch keep convolutions prepared for few shapes only; to be called before its import.

    Batches of training have ever new shapes. What is kept for them lies between the tensors of the
    steps in which it was made, and as it is replaced piece by piece the heap breaks up: the tensors
    of later steps find no room in it, and it grows. What the environment sets already stays.
    """
    for name, count in SHAPES_KEPT.items():
        os.environ.setdefault(name, count)


def find_package() -> Path:
    """The folder of this project's package; ends the program if Python would take another.

    A package in the folder ``site-packages`` comes before an editable install, which is found last.
    """
    spec = importlib.util.find_spec("zipformer")  # imports nothing
    if spec is None:
        sys.exit("error: Python finds no package zipformer: pip install -e . in its checkout")
    folder = Path(next(iter(spec.submodule_search_locations or [str(spec.origin)])))
    if first_line(folder / "__init__.py").startswith(OWN_FIRST_LINE):
        return folder
    sys.exit(
        f"error: Python finds another project's package zipformer, in {folder}, in place of this "
        "one. Run pip uninstall zipformer, and then pip install -e . in the checkout of this one, "
        "or use another environment for one of them: both cannot be in one"
    )


def overview(package: Path) -> str:
    """The help of ``zipformer``: one line for each verb, the first of its module's docstring."""
    width = max(len(verb) for verb in VERBS)
    modules = [package / "commands" / f"{_module(verb)}.py" for verb in VERBS]
    lines = [f"  {v:{width}}  {first_line(m)}" for v, m in zip(VERBS, modules, strict=True)]
    return "\n".join(
        [
            "usage: zipformer VERB ...",
            "",
            first_line(package / "__init__.py"),
            "",
            *lines,
            "",
            "zipformer VERB --help lists what a verb can do.",
        ]
    )


def _module(verb: str) -> str:
    """The name of the module in ``zipformer.commands``."""
    return verb.replace("-", "_")


def first_line(path: Path) -> str:
    """The first line of a module's docstring, read without importing it; "" without one."""
    if not path.is_file():
        return ""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
