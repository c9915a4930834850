"""What is random in training, and what is not."""

from __future__ import annotations

import random

import pytest
import torch
from nn.small_encoder import ABLATIONS, KINDS, TINY
from tolerances import ENCODER
from torch import Tensor

from zipformer import Context, Encoder
from zipformer.model import build_encoder
from zipformer.nn.dropout import SharedDropout, keep_sequences
from zipformer.nn.schedule import ScheduledFloat, set_progress
from zipformer.nn.streaming_encoder import StreamingEncoder
from zipformer.optim import ScaledAdam


def run(encoder: StreamingEncoder, seed: int) -> Tensor:
    torch.manual_seed(seed)
    features = torch.randn(3, 120, 80)
    out, _ = encoder(features, torch.tensor([120, 90, 60]), Context(32, 128, 64))
    (out * torch.randn_like(out)).sum().backward()  # a norm would be held fixed by BiasNorm
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_everything_and_global_random_nothing(kind: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(KINDS[kind]).train()
    set_progress(encoder, 100.0)
    random.seed(1)
    first = run(encoder, seed=5)
    grads = [p.grad.clone() for p in encoder.parameters() if p.grad is not None]
    encoder.zero_grad()
    random.seed(2)
    again = run(encoder, seed=5)
    assert torch.equal(first, again)
    assert not torch.equal(first, run(encoder, seed=6))
    encoder.zero_grad()
    run(encoder, seed=5)
    same = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(grads, same, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["windowed", "masked"])
def test_gradients_do_not_see_padding(mode: str, kind: str) -> None:
    """In eval mode, where nothing is drawn: the gradient of a padded utterance is its own."""
    encoder = build_encoder(KINDS[kind]).eval()
    features = torch.randn(1, 90, 80)
    weight = torch.randn(1, 21, encoder.config.output_dim)

    def gradients(features: Tensor) -> list[Tensor]:
        encoder.zero_grad()
        out, lengths = encoder(features, torch.tensor([90]), Context(32, 128, 64), mode)
        (out[:, :21] * weight).sum().backward()
        assert int(lengths[0]) == 21
        return [p.grad.clone() for p in encoder.parameters() if p.grad is not None]

    alone = gradients(features)
    padded = gradients(torch.cat([features, 9 * torch.randn(1, 60, 80)], dim=1))
    for a, b in zip(alone, padded, strict=True):
        assert (a - b).abs().max() <= ENCODER * max(1.0, float(a.abs().max()))


@pytest.mark.parametrize("name", ["zipformer", *ABLATIONS])
def test_every_parameter_learns(name: str) -> None:
    encoder = build_encoder((KINDS | ABLATIONS)[name]).eval()
    run(encoder, seed=0)
    missing = [n for n, p in encoder.named_parameters() if p.grad is None]
    still = [n for n, p in encoder.named_parameters() if p.grad is not None and not p.grad.any()]
    assert missing == []
    assert still == []


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_take_training_steps(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ABLATIONS[name]).train()
    set_progress(encoder, 1e6)  # no skips, so that everything has a gradient
    optimizer = ScaledAdam(encoder.named_parameters(), lr=0.01)
    before = {n: p.clone() for n, p in encoder.named_parameters()}
    for seed in range(2):
        encoder.zero_grad()
        run(encoder, seed)
        optimizer.step()
    after = dict(encoder.named_parameters())
    assert all(p.isfinite().all() for p in after.values())
    assert [n for n, p in after.items() if torch.equal(p, before[n])] == []


def test_dropout_shares_its_mask_along_time_and_keeps_the_mean() -> None:
    dropout = SharedDropout(0.25).train()
    y = dropout(torch.ones(4, 3, 5, 1000))
    assert torch.equal(y, y[:, :1, :1].expand_as(y))
    assert y.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(dropout.eval()(y), y)


def test_skipping_takes_whole_sequences() -> None:
    keep = keep_sequences(torch.zeros(2000, 3, 4), 0.25, training=True)
    assert keep.shape == (2000, 1, 1)
    assert keep.mean().item() == pytest.approx(0.75, abs=0.03)
    assert keep_sequences(torch.zeros(4, 3), 0.25, training=False) is None


def test_feature_masks_take_outer_channels_from_whole_sequences() -> None:
    encoder = Encoder(TINY).train()
    masks = encoder._feature_masks(torch.zeros(4000, 1, 1, 1))
    for mask, dim, unmasked in zip(masks, TINY.dims, TINY.unmasked_dims, strict=True):
        assert mask.shape == (4000, 1, 1, dim)
        assert mask[..., :unmasked].all()
    outer, inner = masks[3][..., -1].mean().item(), masks[3][..., 16].mean().item()
    assert inner == pytest.approx(0.875, abs=0.02)
    assert outer == pytest.approx(0.875**2, abs=0.02)
    assert (masks[3][..., -1] <= masks[3][..., 16]).all()


def test_schedule_is_piecewise_linear_and_constant_outside() -> None:
    rate = ScheduledFloat((0.0, 0.2), (4000.0, 0.05), (16000.0, 0.0), default=0.7)
    assert float(rate) == 0.7
    found = []
    for progress in (0.0, 2000.0, 4000.0, 10000.0, 16000.0, 1e9):
        set_progress(rate, progress)
        found.append(float(rate))
    assert found == pytest.approx([0.2, 0.125, 0.05, 0.025, 0.0, 0.0])
    with pytest.raises(ValueError, match="rising progress"):
        ScheduledFloat((1.0, 0.0), (1.0, 1.0))


def test_layers_come_in_one_after_another() -> None:
    encoder = Encoder(TINY)
    set_progress(encoder, 4000.0 / 7 * 1.5)
    rates = [float(s.layers[0].bypass.skip_rate) for s in encoder.stacks]
    assert rates[0] == pytest.approx((0.5 + 0.035) / 2)
    assert rates[1:] == [0.5] * 5
    set_progress(encoder, 1e6)
    rates = [float(s.layers[0].bypass.skip_rate) for s in encoder.stacks]
    assert rates == pytest.approx([0.035 * ds**0.5 for ds in (1, 2, 4, 8, 4, 2)])
