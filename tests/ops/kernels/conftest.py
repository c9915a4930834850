"""Runs the kernels in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# A kernel becomes a compiled or an interpreted one when its module is imported, and so do those
# that come with Triton, some of which it imports with the first launch. The variable is needed no
# longer than that.
if importlib.util.find_spec("triton") is not None:
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            patch.setenv("TRITON_INTERPRET", "1")
        if importlib.util.find_spec("triton.experimental") is not None:
            importlib.import_module("triton.experimental.gluon")
        importlib.import_module("zipformer.ops.kernels")


@pytest.fixture
def device() -> str:
    """Where the kernels run."""
    return DEVICE


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The interpreter computes with numpy, which warns of infinities that are meant to be."""
    with np.errstate(all="ignore"):
        yield
