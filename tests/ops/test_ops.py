"""Every backend of an operation gives the numbers and gradients of its reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zipformer import ops


def values_and_gradients(backend: str, run, *inputs: Tensor) -> list[Tensor]:
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    with ops.use(backend):
        y = run(*inputs)
        y.backward(torch.linspace(-1, 1, y.numel()).view(y.shape).to(y.dtype))
    return [y.detach(), *(x.grad for x in inputs)]


@pytest.mark.parametrize("op", [ops.swoosh_l, ops.swoosh_r], ids=["swoosh_l", "swoosh_r"])
def test_swoosh(op) -> None:
    x = torch.linspace(-30, 30, 301)
    expected = values_and_gradients("reference", op, x)
    for a, b in zip(values_and_gradients("fused", op, x), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
    with ops.use("fused"):
        assert torch.autograd.gradcheck(op, torch.randn(7, dtype=torch.float64).requires_grad_())


@pytest.mark.parametrize("frames,padding", [(1, 7), (2, 7), (16, 7), (40, 7), (100, 7), (22, 0)])
def test_depthwise_convolution(frames: int, padding: int) -> None:
    x, weight, bias = torch.randn(3, frames, 5), torch.randn(5, 1, 15), torch.randn(5)

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return ops.depthwise_conv(x, weight, bias, padding)

    expected = values_and_gradients("reference", run, x, weight, bias)
    for a, b in zip(values_and_gradients("fused", run, x, weight, bias), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)
    plain = torch.nn.functional.conv1d(x.mT, weight, bias, padding=padding, groups=5).mT
    assert torch.allclose(expected[0], plain, atol=1e-5)


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="'fast' is unknown; choose one of fused, triton"):
        with ops.use("fast"):
            pass


def test_a_backend_is_forced_for_a_block_only() -> None:
    before = ops.backend()
    with ops.use("reference"):
        assert ops.backend() == "reference"
    assert ops.backend() == before


@pytest.mark.parametrize("taps", [3, 5, 7])
def test_depthwise_images_and_their_gradients(taps: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 11, 6, dtype=torch.float64).to(memory_format=torch.channels_last)
    x.requires_grad_()
    weight = torch.randn(4, 1, taps, taps, dtype=torch.float64, requires_grad=True)
    results = {}
    for backend in ("fused", "reference"):
        with ops.use(backend):
            y = ops.depthwise_conv2d(x, weight)
        results[backend] = [y, *torch.autograd.grad((y * y.detach().cos()).sum(), (x, weight))]
    assert results["fused"][0].shape == (2, 4, 11 - taps + 1, 6)
    for a, b in zip(results["fused"], results["reference"], strict=True):
        torch.testing.assert_close(a, b)
