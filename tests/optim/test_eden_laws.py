"""Eden follows the counts it is given, and a restart may change the base rate."""

from __future__ import annotations

import pytest
import torch

from zipformer.optim import Eden, ScaledAdam


def make_optimizer(*lrs: float) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in lrs]
    return ScaledAdam(groups, lr=0.1, clipping_scale=2.0)


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def test_rate_depends_on_the_counts_alone_not_on_how_they_were_reached() -> None:
    one, two = make_optimizer(0.04), make_optimizer(0.04)
    straight, wandering = Eden(one, 100.0, 2.0), Eden(two, 100.0, 2.0)
    for batch in (3, 900, 17):
        wandering.step_batch(batch)
        wandering.step_epoch(batch)
    for eden in (straight, wandering):
        eden.step_epoch(3)
        eden.step_batch(640)
    assert rates(one) == rates(two)


def test_warm_up_rises_linearly_from_its_start() -> None:
    optimizer = make_optimizer(1.0)
    eden = Eden(optimizer, 1e9, 1e9, warmup_batches=10, warmup_start=0.2)
    assert rates(optimizer) == [pytest.approx(0.2)]
    eden.step_batch(5)
    assert rates(optimizer) == [pytest.approx(0.6)]
    eden.step_batch(10)
    assert rates(optimizer) == [pytest.approx(1.0)]


def test_groups_keep_their_ratio() -> None:
    optimizer = make_optimizer(0.04, 0.01)
    eden = Eden(optimizer, 100.0, 2.0)
    eden.step_epoch(4)
    eden.step_batch(777)
    a, b = rates(optimizer)
    assert a < 0.04 and a == pytest.approx(4 * b)


def test_state_is_the_two_counts_and_restores_the_rate() -> None:
    optimizer = make_optimizer(0.04)
    eden = Eden(optimizer, 100.0, 2.0)
    eden.step_epoch(4)
    eden.step_batch(777)
    assert eden.state_dict() == {"epoch": 4, "batch": 777}
    other = make_optimizer(0.04)
    Eden(other, 100.0, 2.0).load_state_dict(eden.state_dict())
    assert rates(other) == rates(optimizer)


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_base_rate_changed_at_a_restart_wins_over_the_restored_one(optimizer_first: bool) -> None:
    optimizer = make_optimizer(0.05)
    eden = Eden(optimizer, 100.0, 2.0)
    eden.step_batch(700)
    lowered = make_optimizer(0.02)
    resumed = Eden(lowered, 100.0, 2.0)
    if optimizer_first:
        lowered.load_state_dict(optimizer.state_dict())
        resumed.load_state_dict(eden.state_dict())
    else:
        resumed.load_state_dict(eden.state_dict())
        lowered.load_state_dict(optimizer.state_dict())
    resumed.step_batch(700)
    assert rates(lowered) == [pytest.approx(rates(optimizer)[0] * 0.02 / 0.05)]


def test_a_second_schedule_starts_from_the_base_rate_too() -> None:
    optimizer = make_optimizer(0.04)
    Eden(optimizer, 100.0, 2.0).step_batch(5000)
    Eden(optimizer, 100.0, 2.0, warmup_batches=0)
    assert rates(optimizer) == [0.04]


@pytest.mark.parametrize("arguments", [(0.0, 1.0), (1.0, -1.0), (1.0, 1.0, -1.0)])
def test_lengths_that_are_not_positive_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="lr_batches"):
        Eden(make_optimizer(0.1), *arguments)
