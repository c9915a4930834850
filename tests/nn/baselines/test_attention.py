"""Attention with relative positions, against its formula."""

from __future__ import annotations

import math

import pytest
import torch
from tolerances import ROUNDING
from torch import Tensor

from zipformer.context import Context
from zipformer.nn.baselines.attention import RelativeAttention
from zipformer.nn.layout import Layout
from zipformer.nn.positions import RelativePositions

CHANNELS, HEADS, POSITIONS, FRAMES = 6, 2, 8, 11


def by_hand(attention: RelativeAttention, x: Tensor, visible: list[range]) -> Tensor:
    """(T, D): one query, one head at a time, with the keys that it sees."""
    size = CHANNELS // HEADS
    everything = Layout(1, len(x), len(x), 0, torch.tensor([len(x)]), full=True)
    encoded = RelativePositions(POSITIONS).eval()(everything, x)  # row r: offset r - (T - 1)
    query, key, value = attention.in_proj(x).chunk(3, dim=-1)
    distance = attention.linear_pos(encoded)
    rows = []
    for i, keys in enumerate(visible):
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            u, v = attention.content_bias[h, 0], attention.position_bias[h, 0]
            scores = [
                (query[i, part] + u) @ key[j, part]
                + (query[i, part] + v) @ distance[j - i + len(x) - 1, part]
                for j in keys
            ]
            weights = (torch.stack(scores) / math.sqrt(size)).softmax(dim=0)
            heads.append(weights @ value[list(keys), part])
        rows.append(attention.out_proj(torch.cat(heads)))
    return torch.stack(rows)


@pytest.mark.parametrize("windowed", [True, False], ids=["windowed", "masked"])
@pytest.mark.parametrize("left,right", [(4, 0), (8, 2), (-1, 2)])
@torch.no_grad()
def test_weights_follow_content_and_distance(left: int, right: int, windowed: bool) -> None:
    attention = RelativeAttention(CHANNELS, HEADS, POSITIONS, dropout=0.0)
    for p in attention.parameters():
        p.mul_(3.0)
    x, lengths = torch.randn(2, FRAMES, CHANNELS), torch.tensor([FRAMES, 7])
    context = Context(8, 2 * left if left > 0 else -1, 2 * right)
    layout = Layout.of_utterance(lengths, FRAMES, context, windowed)
    folded = layout.fold(x)
    positions = RelativePositions(POSITIONS).eval()(layout, folded)
    y = layout.unfold(attention(folded, positions, layout, None)[0], FRAMES)
    for b, n in enumerate(lengths.tolist()):
        starts = [t // 4 * 4 for t in range(n)]
        visible = [
            range(0 if left < 0 else max(0, start - left), min(n, start + 4 + right))
            for start in starts
        ]
        assert (y[b, :n] - by_hand(attention, x[b, :n], visible)).abs().max() <= ROUNDING
