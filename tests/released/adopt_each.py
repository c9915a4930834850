"""Adopts SOURCE OUT pairs of its command line; writes status, output and error of each as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import sys

from zipformer_cli import run_verb


def adopt(source: str, out: str) -> tuple[int, str, str]:
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            run_verb("adopt", [source, "--out", out], "adopt")
    except SystemExit as end:
        return 1, output.getvalue(), str(end)
    return 0, output.getvalue(), ""


if __name__ == "__main__":
    words = sys.argv[1:]
    print(json.dumps([adopt(*pair) for pair in zip(words[::2], words[1::2], strict=True)]))
