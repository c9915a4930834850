"""Balancer, Whiten and kin: identities forwards, blind to padding, silent outside training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zipformer.nn.gradients import limit_value, penalize_large, scale_gradient
from zipformer.nn.regularizers import (
    Balancer,
    Whiten,
    regularizer_activity,
    settle_whitening,
    whiteners,
    whitening_metric,
)

MODULES = {
    "balancer": Balancer(0.4, 0.6, 0.2, 1.0, prob=1.0),
    "whiten": Whiten(1, 1.0, prob=(1.0, 1.0)),
    "whiten_groups": Whiten(4, 1.0, prob=(1.0, 1.0)),
}


def backward(module: nn.Module, x: Tensor, grad: Tensor, valid: Tensor | None = None) -> Tensor:
    x = x.clone().requires_grad_()
    y = module(x, valid)
    assert torch.equal(y, x)
    y.backward(grad)
    return x.grad


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 1, 20, 8) @ torch.randn(8, 8) + 1.0


@pytest.mark.parametrize("name", MODULES)
def test_acts_in_training_only(name: str, x: Tensor) -> None:
    module, grad = MODULES[name], torch.randn_like(x)
    assert not torch.equal(backward(module.train(), x, grad), grad)
    assert torch.equal(backward(module.eval(), x, grad), grad)


@pytest.mark.parametrize("name", MODULES)
def test_padding_changes_no_gradient(name: str, x: Tensor) -> None:
    module = MODULES[name].train()
    grad = torch.randn_like(x)
    alone = backward(module, x, grad)
    padded = torch.cat([x, 100 * torch.randn(3, 1, 7, 8)], dim=2)
    valid = (torch.arange(27) < 20).view(1, 1, 27, 1).expand(3, 1, 27, 1)
    no_grad = torch.zeros(3, 1, 7, 8)
    together = backward(module, padded, torch.cat([grad, no_grad], dim=2), valid)
    assert torch.allclose(together[:, :, :20], alone, rtol=1e-4, atol=1e-5)
    assert together[:, :, 20:].abs().max() == 0


def test_balancer_does_not_depend_on_the_axis_of_the_channels(x: Tensor) -> None:
    grad = torch.randn_like(x)
    valid = torch.ones(3, 1, 20, 1, dtype=torch.bool)
    last = backward(Balancer(0.4, 0.6, 0.2, 1.0, prob=1.0), x, grad, valid)
    moved = Balancer(0.4, 0.6, 0.2, 1.0, prob=1.0, channel_dim=1)
    first = backward(
        moved, x.movedim(-1, 1), grad.movedim(-1, 1), torch.ones(3, 1, 1, 20, dtype=torch.bool)
    )
    assert torch.allclose(first.movedim(1, -1), last, rtol=1e-4, atol=1e-6)


def test_balancer_moves_a_channel_back_into_its_limits() -> None:
    x = (0.01 * torch.randn(500, 2) + torch.tensor([0.05, 0.0])).requires_grad_()
    balancer = Balancer(0.3, 0.7, 0.2, 1.0, grad_scale=0.05, prob=1.0)
    optimizer = torch.optim.SGD([x], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        balancer(x).backward(0.1 * torch.ones_like(x) * torch.randn_like(x).sign())
        optimizer.step()
    positive = (x > 0).float().mean(0)
    assert positive[0] < 0.9  # all were positive at first
    assert (x.abs().mean(0) > 0.1).all()  # 0.05 and 0.008 at first


@pytest.mark.parametrize("value", [0.0, 1e-6, 1.0, -300.0])
def test_balancer_survives_degenerate_channels(value: float) -> None:
    x = torch.full((50, 3), value)
    x[:, 1] += 1e-7 * torch.randn(50)
    grad = backward(Balancer(0.4, 0.6, 0.2, 1.0, prob=1.0), x, torch.ones_like(x))
    assert grad.isfinite().all()
    assert (grad - 1.0).abs().max() < 1.0


def test_whitening_metric_is_one_when_white() -> None:
    q, _ = torch.linalg.qr(torch.randn(64, 8) - torch.randn(64, 8).mean(0))
    white = q - q.mean(0)
    u, _, v = torch.linalg.svd(white, full_matrices=False)
    metric, _, _ = whitening_metric(u @ v, None, 1)
    assert metric.item() == pytest.approx(1.0, abs=0.05)
    stretched, _, _ = whitening_metric((u @ v) * torch.arange(1.0, 9.0), None, 1)
    assert stretched > 1.2


def test_whiten_looks_less_often_while_nothing_is_wrong(x: Tensor) -> None:
    module = Whiten(1, 1000.0, prob=(0.25, 1.0)).train()
    assert module.prob == 1.0
    backward(module, x, torch.randn_like(x))
    model = nn.Sequential(nn.Linear(1, 1), module)
    assert whiteners(model) == {"1": module}
    settle_whitening([module])
    assert module.prob == 0.25


def test_limited_value_is_never_pushed_further_out() -> None:
    x = torch.tensor([-2.0, -2.0, 0.0, 0.0, 2.0, 2.0], requires_grad=True)
    grad = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    limit_value(x, -1.0, 1.0, training=True, prob=1.0).backward(grad)
    assert x.grad.tolist() == [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0]


def test_penalty_is_the_gradient_of_what_exceeds_the_limit() -> None:
    x = torch.tensor([-30.0, -3.0, 3.0, 30.0], requires_grad=True)
    penalize_large(x, 25.0, 0.1).sum().backward()
    assert x.grad.tolist() == pytest.approx([0.9, 1.0, 1.0, 1.1])


def test_scaled_gradient() -> None:
    x = torch.tensor([1.0], requires_grad=True)
    scale_gradient(x, 0.2).backward()
    assert x.grad.item() == pytest.approx(0.2)


def test_activity_is_the_share_that_had_something_to_do() -> None:
    wild = torch.randn(50, 4)
    wild[:, 0] += 10.0  # nearly always positive
    model = nn.ModuleList([Balancer(min_abs=0.0, prob=1.0), Whiten(1, 1e6), Whiten(1, 1.0)])
    assert regularizer_activity(model) == {"whiten": 1.0}  # nothing has looked yet
    for module in model[1:]:
        module.prob = module.max_prob = 1.0
    x = wild.requires_grad_()
    for module in model:
        x = module(x)
    x.square().sum().backward()
    settle_whitening(model[1:])
    assert regularizer_activity(model) == {"balancer": 0.25, "whiten": 0.5}
