"""The kernels of BiasNorm give the values and gradients of the module."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

from zipformer.nn.norm import BiasNorm

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")

SHAPES = pytest.mark.parametrize(
    "shape", [(1, 1), (3, 7, 5), (2, 33), (300, 16), (5, 1000)], ids=str
)


def parameters(channels: int, device: str) -> tuple[Tensor, Tensor]:
    return torch.randn(channels, 2, device=device)[:, 0], torch.tensor(0.3, device=device)


def plain(
    x: Tensor, bias: Tensor, log_scale: Tensor, grad: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Value and gradients of the module in float64."""
    norm = BiasNorm(x.shape[-1]).to(x.device).double().eval()
    norm.load_state_dict({"bias": bias, "log_scale": log_scale})
    x = x.double().requires_grad_()
    y = norm(x)
    inputs = x, norm.bias, norm.log_scale
    return y.detach(), torch.autograd.grad(y, inputs, grad.double())


def check(x: Tensor, grad: Tensor, device: str) -> None:
    bias, log_scale = parameters(x.shape[-1], device)
    wanted, grads_wanted = plain(x, bias, log_scale, grad)
    y, inverse_rms = kernels.bias_norm(x, bias, log_scale)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-6)
    exact = (x - bias).double().square().mean(-1).rsqrt().flatten()
    torch.testing.assert_close(inverse_rms.double(), exact, rtol=1e-5, atol=0.0)
    grads = kernels.bias_norm_backward(grad, x, bias, log_scale, inverse_rms)
    for found, exact in zip(grads, grads_wanted, strict=True):
        assert found.shape == exact.shape
        scale = exact.abs().max().item()
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=2e-6 * scale)


@SHAPES
def test_values_and_gradients(shape: tuple[int, ...], device: str) -> None:
    check(torch.randn(shape, device=device), torch.randn(shape, device=device), device)


def test_strides_do_not_matter(device: str) -> None:
    x, grad = torch.randn(6, 5, 4, device=device), torch.randn(4, 6, 5, device=device)
    check(x.mT, grad.transpose(0, 1), device)
    check(x[0, :, :3], grad[0, :5, :3], device)


def test_programs_that_go_on_to_more_frames(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    module = importlib.import_module("zipformer.ops.kernels.bias_norm")
    monkeypatch.setattr(module, "_MAX_STRIPS", 2)
    check(torch.randn(37, 500, device=device), torch.randn(37, 500, device=device), device)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_read_exactly_and_rounded_once(dtype: torch.dtype, device: str) -> None:
    x, grad = (torch.randn(11, 20, device=device).to(dtype) for _ in range(2))
    bias, log_scale = parameters(20, device)
    y, inverse_rms = kernels.bias_norm(x, bias, log_scale)
    wide, wide_rms = kernels.bias_norm(x.float(), bias, log_scale)
    assert y.dtype == dtype and torch.equal(inverse_rms, wide_rms)
    precision = torch.finfo(dtype).eps
    torch.testing.assert_close(y.float(), wide, rtol=precision, atol=1e-6)

    found = kernels.bias_norm_backward(grad, x, bias, log_scale, inverse_rms)
    wanted = kernels.bias_norm_backward(grad.float(), x.float(), bias, log_scale, inverse_rms)
    assert [t.dtype for t in found] == [dtype, torch.float32, torch.float32]
    torch.testing.assert_close(found[0].float(), wanted[0], rtol=precision, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(found[1:], wanted[1:], strict=True))


def test_no_frames(device: str) -> None:
    bias, log_scale = parameters(8, device)
    x = torch.zeros(0, 3, 8, device=device)
    y, inverse_rms = kernels.bias_norm(x, bias, log_scale)
    grads = kernels.bias_norm_backward(y, x, bias, log_scale, inverse_rms)
    assert y.shape == x.shape and grads[0].shape == x.shape
    assert all(g.abs().sum() == 0 for g in grads)
