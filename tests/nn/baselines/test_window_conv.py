"""The symmetric kernel sees the past across windows, and no future behind its window."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tolerances import ROUNDING
from torch import Tensor

from zipformer.context import Context
from zipformer.nn.baselines.convolution import WindowConv
from zipformer.nn.layout import Layout

CHANNELS = 3


def by_hand(conv: WindowConv, x: Tensor, chunk: int, right: int) -> Tensor:
    """(T, D): every tap of every frame of every chunk, with its own chunk's window alone."""
    y = conv.bias.expand(len(x), -1).clone()
    for t in range(len(x)):
        end = min(len(x), t // chunk * chunk + chunk + right)
        for tap in range(2 * conv.reach + 1):
            source = t + tap - conv.reach
            if 0 <= source < end:
                y[t] += conv.weight[:, 0, tap] * x[source]
    return y


@pytest.mark.parametrize("kernel", [1, 5, 9])
@pytest.mark.parametrize("chunk,right,windowed", [(4, 0, True), (4, 3, True), (4, 3, False)])
@torch.no_grad()
def test_taps_behind_the_window_meet_nothing(
    kernel: int, chunk: int, right: int, windowed: bool
) -> None:
    conv = WindowConv(CHANNELS, kernel)
    x, lengths = torch.randn(2, 14, CHANNELS), torch.tensor([14, 9])
    context = Context(2 * chunk, 8 * chunk, 2 * right)  # of a layer at 50 Hz
    layout = Layout.of_utterance(lengths, 14, context, windowed)
    y = layout.unfold(conv(layout.fold(x), layout, None)[0], 14)
    for i, n in enumerate(lengths.tolist()):
        wanted = by_hand(conv, x[i, :n], chunk, right if windowed else 0)
        assert (y[i, :n] - wanted).abs().max() <= ROUNDING


@torch.no_grad()
def test_full_context_sees_the_whole_kernel() -> None:
    conv = WindowConv(CHANNELS, 5)
    x = torch.randn(2, 14, CHANNELS)
    layout = Layout.of_utterance(torch.tensor([14, 14]), 14, Context.full(), True)
    y, _ = conv(layout.fold(x), layout, None)
    wanted = F.conv1d(x.transpose(1, 2), conv.weight, conv.bias, padding=2, groups=CHANNELS)
    assert (y.squeeze(1) - wanted.transpose(1, 2)).abs().max() <= ROUNDING
