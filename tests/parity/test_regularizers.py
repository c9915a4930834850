"""Regularizers, norm, activations and chunk convolution give the published numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerances import LOSS
from torch import Tensor

from zipformer import ops
from zipformer.nn.layout import Layout
from zipformer.nn.norm import BiasNorm
from zipformer.nn.regularizers import Balancer, Whiten, whitening_metric
from zipformer.nn.zipformer.convolution import ChunkCausalConv

pytestmark = pytest.mark.parity


@pytest.fixture
def data(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "regularizers.safetensors")


def relative_error(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize(
    "case,limits",
    [("default", (0.05, 0.95, 0.2, 1.0)), ("positive_only", (0.4, 0.6, 0.0, 100.0))],
)
def test_balancer(data: dict[str, Tensor], case: str, limits: tuple[float, ...]) -> None:
    x = data["balancer.x"].requires_grad_()
    Balancer(*limits, prob=1.0)(x).backward(data["balancer.grad_out"])
    assert relative_error(x.grad, data[f"balancer.{case}.grad_in"]) <= LOSS


@pytest.mark.parametrize("groups,limit", [(1, 2.0), (4, 1.5)])
def test_whiten(data: dict[str, Tensor], groups: int, limit: float) -> None:
    x = data["whiten.x"].requires_grad_()
    Whiten(groups, limit, prob=(1.0, 1.0), grad_scale=0.02)(x).backward(data["whiten.grad_out"])
    assert relative_error(x.grad, data[f"whiten.groups{groups}_limit{limit}.grad_in"]) <= LOSS
    metric, _, _ = whitening_metric(x.detach(), None, groups)
    assert relative_error(metric, data[f"whiten.groups{groups}.metric"]) <= LOSS


def test_bias_norm(data: dict[str, Tensor]) -> None:
    norm = BiasNorm(16).eval()
    with torch.no_grad():
        norm.bias.copy_(data["biasnorm.bias"])
        norm.log_scale.copy_(data["biasnorm.log_scale"].squeeze())
    x = data["biasnorm.x"].requires_grad_()
    y = norm(x)
    y.backward(data["biasnorm.grad_out"])
    assert relative_error(y, data["biasnorm.y"]) <= LOSS
    assert relative_error(x.grad, data["biasnorm.grad_x"]) <= LOSS
    assert relative_error(norm.bias.grad, data["biasnorm.grad_bias"]) <= LOSS
    assert relative_error(norm.log_scale.grad, data["biasnorm.grad_log_scale"]) <= LOSS


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_swoosh(data: dict[str, Tensor], backend: str) -> None:
    with ops.use(backend):
        assert relative_error(ops.swoosh_l(data["swoosh.x"]), data["swoosh.l"]) <= LOSS
        assert relative_error(ops.swoosh_r(data["swoosh.x"]), data["swoosh.r"]) <= LOSS


@pytest.mark.parametrize("chunk", [8, 16, -1])
@torch.no_grad()
def test_chunk_causal_convolution(data: dict[str, Tensor], chunk: int) -> None:
    conv = ChunkCausalConv(12, 15)
    prefix = "chunkconv.param."
    conv.load_state_dict({k[len(prefix) :]: v for k, v in data.items() if k.startswith(prefix)})
    x = data["chunkconv.x"].transpose(1, 2)  # (B, T, D)
    lengths = torch.full((2,), x.shape[1])
    if chunk < 0:
        layout = Layout(1, x.shape[1], x.shape[1], 0, lengths, full=True)
    else:
        layout = Layout(-(-x.shape[1] // chunk), chunk, chunk, 0, lengths)
    y, _ = conv(layout.fold(x), layout, None)
    y = layout.unfold(y, x.shape[1]).transpose(1, 2)
    assert relative_error(y, data[f"chunkconv.chunk{chunk}.y"]) <= LOSS
