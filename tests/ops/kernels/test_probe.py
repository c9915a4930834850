"""The launch that decides whether kernels are used, with a kernel that runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses import FakeTensorMode

from zipformer import ops
from zipformer.ops.first_launch import examine

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    examine.cache_clear()
    yield
    examine.cache_clear()


def test_kernels_that_work_are_used(device: str) -> None:
    with ops.use("triton"):
        assert ops.probe(torch.device(device)) == ""


def test_kernels_with_wrong_numbers_are_not(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = kernels.channel_moments
    monkeypatch.setattr(kernels, "channel_moments", lambda x, valid: right(x * 1.01, valid))
    with ops.use("triton"), pytest.raises(RuntimeError, match="a kernel gave") as raised:
        ops.probe(torch.device(device))
    assert isinstance(raised.value.__cause__, ArithmeticError)


def test_the_mode_of_whoever_asks_first_does_not_decide(device: str) -> None:
    with FakeTensorMode(), torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16):
        assert torch.zeros(1).is_inference()
        assert examine(torch.device(device)).reason == ""
