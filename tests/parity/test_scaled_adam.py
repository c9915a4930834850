"""ScaledAdam walks the published path, step by step, through two spikes of the gradient."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerances import LOSS
from torch import Tensor

from zipformer.optim import Eden, ScaledAdam

pytestmark = pytest.mark.parity

NAMES = ("b", "k", "s", "w", "w2")  # vector, kernel, scalar, two matrices of one shape
SPIKES = (60, 150)


@pytest.fixture
def data(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "scaled_adam.safetensors")


@pytest.mark.parametrize("named", [True, False], ids=["named", "plain"])
def test_every_stored_step_is_the_published_one(data: dict[str, Tensor], named: bool) -> None:
    params = {name: torch.nn.Parameter(data[f"init.{name}"].clone()) for name in NAMES}
    given = list(params.items()) if named else list(params.values())
    optimizer = ScaledAdam(given, lr=0.045, clipping_scale=2.0)
    eden = Eden(optimizer, lr_batches=7500, lr_epochs=3.5)
    checked = 0
    clipped = []
    for step, lr in enumerate(data["lrs"]):
        for name, param in params.items():
            param.grad = data[f"grads.{name}"][step].clone()
        eden.step_batch(step)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(float(lr), rel=1e-6)
        optimizer.step()
        assert optimizer.last_clip is not None
        if optimizer.last_clip.factor < 0.2:
            clipped.append(step)
        if f"after.{step}.b" in data:
            checked += 1
            for name, param in params.items():
                expected = data[f"after.{step}.{name}"]
                error = (param.detach() - expected).abs().max() / expected.abs().max()
                assert error <= LOSS, f"step {step}, parameter {name}: {error:.1e}"
    assert checked == 18
    assert clipped == list(SPIKES)
