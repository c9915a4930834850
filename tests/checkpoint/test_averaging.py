"""The running average is the mean of its snapshots, over any range, in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from zipformer.checkpoint.averaging import ModelAverage, range_mean


def snapshots(count: int) -> tuple[list[dict[str, torch.Tensor]], list[dict[str, Any]]]:
    """Weights of a model that wanders, and the state of the average after each of them."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = ModelAverage(model)
    weights, states = [], [copy.deepcopy(average.state_dict())]
    for _ in range(count):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        average.add(model)
        weights.append(copy.deepcopy(model.state_dict()))
        states.append(copy.deepcopy(average.state_dict()))
    return weights, states


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 50), (10, 50), (49, 50)])
def test_mean_over_a_range_is_the_mean_of_its_snapshots(start: int, end: int) -> None:
    weights, states = snapshots(end)
    mean = range_mean(states[end], states[start] if start else None)
    for name, value in mean.items():
        direct = torch.stack([w[name].double() for w in weights[start:end]]).mean(dim=0)
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, direct, rtol=1e-14, atol=1e-14)


def test_average_is_float64_and_saving_does_not_change_that() -> None:
    model = nn.Linear(2, 2)
    average = ModelAverage(model)
    average.add(model)
    before = average.state_dict()["total"]["weight"].clone()
    average.add(model)
    assert average.total["weight"].dtype == torch.float64
    assert torch.equal(average.total["weight"], 2 * before)
    assert torch.equal(before, model.weight.double())


def test_what_is_no_float_is_not_averaged() -> None:
    average = ModelAverage(nn.BatchNorm1d(4))
    assert "num_batches_tracked" not in average.total and "running_mean" in average.total


def test_empty_range_is_an_error() -> None:
    states = snapshots(2)[1]
    with pytest.raises(ValueError, match="no snapshot"):
        range_mean(states[2], states[2])
    with pytest.raises(ValueError, match="no snapshot"):
        range_mean(states[0])


def test_average_of_another_model_is_refused() -> None:
    state = ModelAverage(nn.Linear(2, 2)).state_dict()
    with pytest.raises(ValueError, match="another model.*bias"):
        ModelAverage(nn.Linear(2, 2, bias=False)).load_state_dict(state)
