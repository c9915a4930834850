"""What training holds in memory does not grow with the number of shapes that it has seen."""

from __future__ import annotations

import ctypes
import json
import sys

import pytest
from training.runs import run

# Convolutions like those of the frontend, forward and backward, on batches of ever new lengths, in
# a process that has begun as training does. Prints the bytes in use after every tenth shape.
NEW_SHAPES = """
import contextlib, ctypes, io, json, os
import zipformer_cli
for name in zipformer_cli.SHAPES_KEPT:
    os.environ.pop(name, None)
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    zipformer_cli.run_verb("train", ["--help"], "train")
import torch

NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES.split()]
library = ctypes.CDLL(None)
library.mallinfo2.restype = Info

torch.manual_seed(0)
plain, depthwise = torch.nn.Conv2d(1, 8, 3), torch.nn.Conv2d(8, 8, 7, groups=8)
in_use = []
for i in range(200):
    depthwise(plain(torch.randn(1 + i % 3, 1, 20 + i, 40))).sum().backward()
    if i % 10 == 9:
        found = library.mallinfo2()
        in_use.append(found.uordblks + found.hblkhd)
print(json.dumps(in_use))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="asks glibc 2.33 or newer",
)
def test_shapes_seen_take_no_memory() -> None:
    """In use grows by less than 2 MB over 150 new shapes; kept, they would take 20 MB."""
    done = run(NEW_SHAPES)
    assert done.returncode == 0, done.stderr
    in_use = json.loads(done.stdout)
    assert max(in_use[5:]) - in_use[4] < 2e6, in_use
