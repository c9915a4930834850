"""The two passes of a Balancer: moments of the channels, and what it adds to a gradient."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")

SHAPES = pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 16), (9, 300)], ids=str)


def moments(x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    x = x.double() if valid is None else x.double()[valid]
    return x.mean(0), x.square().mean(0)


def check(x: Tensor, valid: Tensor | None) -> None:
    for found, wanted in zip(kernels.channel_moments(x, valid), moments(x, valid), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


@SHAPES
def test_moments_of_all_positions(shape: tuple[int, int], device: str) -> None:
    check(2 + torch.randn(shape, device=device), None)


@SHAPES
def test_moments_do_not_look_at_padding(shape: tuple[int, int], device: str) -> None:
    x = 2 + torch.randn(shape, device=device)
    valid = torch.rand(shape[0], device=device) < 0.6
    valid[0] = True
    x[~valid] = torch.nan
    check(x, valid)


def test_moments_of_nothing_are_zero(device: str) -> None:
    x = torch.randn(4, 3, device=device)
    mean, square = kernels.channel_moments(x, torch.zeros(4, dtype=torch.bool, device=device))
    assert mean.abs().sum() == 0 and square.abs().sum() == 0


def test_programs_that_go_on_to_more_positions(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    module = importlib.import_module("zipformer.ops.kernels.balancer")
    monkeypatch.setattr(module, "_MAX_STRIPS", 2)
    x = torch.randn(100, 150, device=device)
    check(x, None)
    check(x, torch.arange(100, device=device) % 3 > 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_moments_of_strided_inputs_of_any_type(dtype: torch.dtype, device: str) -> None:
    x = torch.randn(6, 31, 2, device=device).to(dtype)[..., 0].t()
    check(x, (torch.arange(62, device=device) % 5 > 1)[::2])


@SHAPES
def test_balance(shape: tuple[int, int], device: str) -> None:
    grad, x = torch.randn(2, *shape, device=device)
    a, b = torch.randn(2, shape[1], dtype=torch.float64, device=device)
    wanted = grad + grad.double().abs() * (a + b * x)
    found = kernels.balance(grad, x, a, b)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_balance_of_half_precision_and_strides(dtype: torch.dtype, device: str) -> None:
    grad = torch.rand(4, 6, 3, device=device).to(dtype).mT
    x = torch.randn(6, 4, 3, device=device).to(dtype).transpose(0, 1).mT
    a, b = torch.rand(2, 6, device=device)
    wanted = grad.double() + grad.double().abs() * (a + b * x.double())
    found = kernels.balance(grad, x, a, b)
    assert found.dtype == dtype and found.shape == grad.shape
    precision = torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), wanted, rtol=precision, atol=1e-6)
