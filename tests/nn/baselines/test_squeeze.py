"""Averages over what has been heard, window by window."""

from __future__ import annotations

import pytest
import torch
from tolerances import ROUNDING
from torch import Tensor

from zipformer.context import Context
from zipformer.nn.baselines.squeeze import SqueezeExcitation
from zipformer.nn.layout import Layout

CHANNELS, FRAMES = 6, 22


def by_hand(squeeze: SqueezeExcitation, x: Tensor, chunk: int, right: int) -> Tensor:
    """(T, D): each frame scaled by the mean over all frames up to R behind its chunk."""
    rows = []
    for t in range(len(x)):
        heard = x[: t // chunk * chunk + chunk + right].mean(dim=0)
        inner = torch.nn.functional.silu(squeeze.in_proj(heard))
        rows.append(x[t] * torch.sigmoid(squeeze.out_proj(inner)))
    return torch.stack(rows)


def module() -> SqueezeExcitation:
    squeeze = SqueezeExcitation(CHANNELS, 2)
    for p in squeeze.parameters():
        p.mul_(6.0)
    return squeeze


@pytest.mark.parametrize("windowed", [True, False], ids=["windowed", "masked"])
@pytest.mark.parametrize("chunk,right", [(4, 0), (4, 3), (4, 8), (40, 0)])
@torch.no_grad()
def test_the_average_ends_where_the_window_does(chunk: int, right: int, windowed: bool) -> None:
    squeeze = module()
    x, lengths = torch.randn(2, FRAMES, CHANNELS), torch.tensor([FRAMES, 10])
    layout = Layout.of_utterance(lengths, FRAMES, Context(2 * chunk, -1, 2 * right), windowed)
    y, _ = squeeze(layout.fold(x), layout, None)
    y = layout.unfold(y, FRAMES)
    for i, n in enumerate(lengths.tolist()):
        assert (y[i, :n] - by_hand(squeeze, x[i, :n], chunk, right)).abs().max() <= ROUNDING


@torch.no_grad()
def test_full_context_averages_over_the_utterance() -> None:
    squeeze = module()
    x, lengths = torch.randn(2, FRAMES, CHANNELS), torch.tensor([FRAMES, 10])
    layout = Layout.of_utterance(lengths, FRAMES, Context.full(), True)
    y, _ = squeeze(layout.fold(x), layout, None)
    for i, n in enumerate(lengths.tolist()):
        assert (y[i, 0, :n] - by_hand(squeeze, x[i, :n], FRAMES, 0)).abs().max() <= ROUNDING


@torch.no_grad()
def test_a_stream_carries_the_sum_of_its_chunks() -> None:
    squeeze, context = module(), Context(8, 16, 4)
    x = torch.randn(1, FRAMES, CHANNELS)
    state, outs = torch.zeros(1, CHANNELS), []
    for k in range(4):
        layout = Layout.of_stream(None, 1, context, torch.tensor([4 * k]))
        y, state = squeeze(x[:, None, 4 * k : 4 * k + 6], layout, state)
        outs.append(layout.chunks(y))
        assert (state - x[:, : 4 * k + 4].sum(dim=1)).abs().max() <= ROUNDING
    wanted = by_hand(squeeze, x[0], 4, 2)[:16]
    assert (torch.cat(outs, dim=1)[0] - wanted).abs().max() <= ROUNDING
