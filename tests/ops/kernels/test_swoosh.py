"""The kernels of Swoosh and of its derivative give the numbers of the formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zipformer.ops.swoosh import LEFT, RIGHT, SLOPE, swoosh_reference

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")

SIDES = pytest.mark.parametrize("constants", [LEFT, RIGHT], ids=["left", "right"])


def both(x: Tensor, grad: Tensor, constants: tuple[float, float]) -> tuple[Tensor, Tensor]:
    shift, offset = constants
    y = kernels.swoosh(x, shift, offset, SLOPE)
    return y, kernels.swoosh_backward(x, grad, shift, SLOPE)


def plain(x: Tensor, grad: Tensor, constants: tuple[float, float]) -> tuple[Tensor, Tensor]:
    x = x.double().requires_grad_()
    y = swoosh_reference(x, *constants)
    return y.detach(), torch.autograd.grad(y, x, grad.double())[0]


@SIDES
@pytest.mark.parametrize("shape", [(), (1,), (0, 4), (3, 1, 5), (2, 700)], ids=str)
def test_values_and_gradients(
    shape: tuple[int, ...], constants: tuple[float, float], device: str
) -> None:
    x, grad = 10 * torch.randn(shape, device=device), torch.randn(shape, device=device)
    for found, wanted in zip(both(x, grad, constants), plain(x, grad, constants), strict=True):
        assert found.shape == shape
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


@SIDES
def test_large_inputs_do_not_overflow(constants: tuple[float, float], device: str) -> None:
    x = torch.tensor([-1e30, -1e4, -100.0, 100.0, 1e4, 1e30], device=device)
    grad = torch.ones_like(x)
    for found, wanted in zip(both(x, grad, constants), plain(x, grad, constants), strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=0.0)


def test_strides_and_nan(device: str) -> None:
    x, grad = torch.randn(2, 4, 6, 3, device=device).unbind(3)[:2]
    x[0, 1, 2] = torch.nan
    x, grad = x.transpose(0, 2), grad.transpose(0, 2)
    wanted = plain(x, grad, RIGHT)
    for found, exact in zip(both(x, grad, RIGHT), wanted, strict=True):
        assert found.isnan().sum() == 1
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_costs_one_rounding(dtype: torch.dtype, device: str) -> None:
    x = torch.linspace(-20, 20, 300, device=device).to(dtype)
    grad = torch.linspace(-1, 2, 300, device=device).to(dtype)
    precision = torch.finfo(dtype).eps
    for found, wanted in zip(both(x, grad, LEFT), plain(x, grad, LEFT), strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), wanted, rtol=precision, atol=1e-6)
