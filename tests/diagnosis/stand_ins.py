"""Checks that end in every way a check can end; another process has to find them by name."""

from __future__ import annotations

import os
import time

from zipformer.diagnosis.check import Check, Found, Setting, Skip


def passes(setting: Setting) -> Found:
    print("not for the terminal")
    return Found("fine", {"what": "this"})


def raises(setting: Setting) -> Found:
    raise ArithmeticError("two and two are five\nand more lines")


def skips(setting: Setting) -> Found:
    raise Skip("it rains")


def dies(setting: Setting) -> Found:
    os.write(2, b"the last words\n")
    os._exit(3)


def hangs(setting: Setting) -> Found:
    time.sleep(600)
    return Found("never said")


EVERY_END = [
    Check("passing", passes, 60.0),
    Check("raising", raises, 60.0),
    Check("dying", dies, 60.0),
    Check("hanging", hangs, 1.0),
    Check("skipping", skips, 60.0),
    Check("without a GPU", passes, 60.0, why_cuda="it is made for one"),
    Check("passing again", passes, 60.0),
]
