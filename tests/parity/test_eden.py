"""Eden gives the published learning rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from zipformer.optim import Eden

pytestmark = pytest.mark.parity


def test_learning_rates_are_the_published_ones(golden: Path) -> None:
    cases = json.loads((golden / "eden.json").read_text())
    assert cases
    for case in cases:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=case["base"])
        eden = Eden(optimizer, case["lr_batches"], case["lr_epochs"])
        eden.step_epoch(case["epoch"])
        eden.step_batch(case["batch"])
        assert optimizer.param_groups[0]["lr"] == pytest.approx(case["lr"], rel=1e-12)


@pytest.mark.parametrize(
    "batch,epoch,lr",
    [(0, 0, 0.0045), (250, 0, 0.0247), (26094, 9, 0.01424), (130472, 49, 0.00288)],
)
def test_learning_rates_of_the_published_recipe(batch: int, epoch: int, lr: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.045)
    eden = Eden(optimizer, 7500, 3.5, warmup_batches=500, warmup_start=0.1)
    eden.step_epoch(epoch)
    eden.step_batch(batch)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lr, rel=2e-3)
