#!/usr/bin/env python3
"""Draws docs/page.png: the server's page in a real browser, after it has heard a recording.

    python scripts/dev/draw_page.py

Needs Chromium, or a Chrome named in CHROME; weights and recordings are those of the repository.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import HERE, browser, find_browser  # noqa: E402

from zipformer.checkpoint.loading import load_model  # noqa: E402
from zipformer.commands.errors import one_line_errors  # noqa: E402
from zipformer.commands.fast_steps import fast_recognizer  # noqa: E402
from zipformer.context import parse_contexts  # noqa: E402
from zipformer.serving.offer import Offer  # noqa: E402
from zipformer.serving.pages import Pages  # noqa: E402
from zipformer.serving.recordings import Recordings  # noqa: E402
from zipformer.serving.running import serving  # noqa: E402

WEIGHTS = ROOT / "tests/assets/digits/model.pt"
PICTURE = ROOT / "docs/page.png"
CONTEXTS = "32/256/0 32/256/64 32/256/256 full"
STATUS = "document.getElementById('status').textContent"


def main() -> None:
    with one_line_errors():
        program = find_browser()
        if program is None:
            raise ValueError("no browser: install Debian's chromium, or name a Chrome in CHROME")
        loaded = load_model(WEIGHTS)
        pages = Pages("digits", Recordings.of(WEIGHTS.parent / "recordings"))
        offer = Offer(parse_contexts(CONTEXTS), lambda context: fast_recognizer(loaded, context))
        with serving(offer, pages=pages) as server, browser(program, HERE) as tab:
            tab.open(server.uri.replace("ws", "http", 1), width=1100)
            tab.wait(f"{STATUS}.startsWith('Ready')")
            tab.value("document.querySelector('#recordings button').click()")
            tab.wait(f"{STATUS}.endsWith('were heard.')")
            time.sleep(0.2)  # the last frame of the drawing
            tab.picture(PICTURE)
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
