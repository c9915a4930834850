"""Transducer losses give the published values, occupation probabilities, ranges and gradients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tolerances import LOSS
from torch import Tensor

from zipformer.losses import (
    prune,
    prune_ranges,
    pruned_transducer_loss,
    smoothed_transducer_loss,
)

pytestmark = pytest.mark.parity

SCALES = [(0.25, 0.0), (0.1, 0.2)]


def case(golden: Path, number: int) -> tuple[dict, dict[str, Tensor]]:
    settings = json.loads((golden / "transducer_loss.json").read_text())[number]
    data = load_file(golden / "transducer_loss.safetensors")
    prefix = f"c{number}."
    return settings, {k[len(prefix) :]: v for k, v in data.items() if k.startswith(prefix)}


def assert_close(found: Tensor, wanted: Tensor) -> None:
    """In the norm: single elements of the reference carry float32 rounding of up to 1.4e-5."""
    assert found.shape == wanted.shape
    assert (found - wanted).norm() <= LOSS * wanted.norm()


@pytest.mark.parametrize("lm_scale,am_scale", SCALES)
@pytest.mark.parametrize("number", range(4))
def test_smoothed_loss_and_ranges(
    golden: Path, number: int, lm_scale: float, am_scale: float
) -> None:
    settings, data = case(golden, number)
    am, lm = data["am"].requires_grad_(), data["lm"].requires_grad_()
    loss, (px_grad, py_grad) = smoothed_transducer_loss(
        am,
        lm,
        data["symbols"],
        data["boundary"],
        lm_scale,
        am_scale,
        rnnt_type=settings["rnnt_type"],
        return_grad=True,
    )
    key = f"lm{lm_scale}_am{am_scale}"
    loss.sum().backward()
    assert_close(loss.detach(), data[f"{key}.simple_loss"])
    assert_close(px_grad, data[f"{key}.px_grad"])
    assert_close(py_grad, data[f"{key}.py_grad"])
    assert_close(am.grad, data[f"{key}.am_grad"])
    assert_close(lm.grad, data[f"{key}.lm_grad"])
    ranges = prune_ranges(px_grad, py_grad, data["boundary"], settings["s_range"])
    assert torch.equal(ranges, data[f"{key}.ranges"])


@pytest.mark.parametrize("number", range(4))
def test_pruned_loss(golden: Path, number: int) -> None:
    settings, data = case(golden, number)
    logits = data["logits"].requires_grad_()
    loss = pruned_transducer_loss(
        logits,
        data["symbols"],
        data["lm0.1_am0.2.ranges"],
        data["boundary"],
        rnnt_type=settings["rnnt_type"],
    )
    loss.sum().backward()
    assert_close(loss.detach(), data["pruned_loss"])
    assert_close(logits.grad, data["logits_grad"])


@pytest.mark.parametrize("number", [0, 1])
def test_without_pruning_it_is_the_full_loss(golden: Path, number: int) -> None:
    _, data = case(golden, number)
    rows = data["lm"].shape[1]
    batch, frames, _ = data["am"].shape
    ranges = torch.arange(rows).expand(batch, frames, rows)
    am, lm = prune(data["am"], data["lm"], ranges)
    loss = pruned_transducer_loss(torch.tanh(am + lm), data["symbols"], ranges, data["boundary"])
    assert_close(loss, data["full_loss_of_tanh_sum"])
