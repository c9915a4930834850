"""Heads with much to say, encoder frames for them, and ways to cut these into steps."""

from __future__ import annotations

from typing import Any

import torch
from tolerances import ROUNDING
from torch import Tensor, nn

from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor
from zipformer.search.protocol import Hypothesis, Searcher

V, D, UNK = 7, 6, 2


def talkative_heads(seed: int = 0) -> tuple[StatelessPredictor, Joiner]:
    """Weights large enough that every token, blanks, and the history matter."""
    generator = torch.Generator().manual_seed(seed)
    predictor, joiner = StatelessPredictor(V, 8).eval(), Joiner(D, 8, 9, V).eval()
    with torch.no_grad():
        for p in (*predictor.parameters(), *joiner.parameters()):
            p.copy_(torch.randn(p.shape, generator=generator))
    return predictor, joiner


def talkative_output(seed: int = 0, calm: float = 1.0) -> nn.Module:
    """A CTC head that likes every token now and then, blanks most; ``calm`` makes it less sure."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(D, V)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(V, D, generator=generator) / calm)
        layer.bias.zero_()[0] = 1.0 / calm
    return nn.Sequential(layer, nn.LogSoftmax(dim=-1)).eval()


def frames(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed))


def in_steps(
    search: Searcher[Any], encoded: Tensor, lengths: Tensor, sizes: list[int]
) -> tuple[list[Hypothesis], Any]:
    """Everything taken after each step, and then the rest; and the last state."""
    whole = [Hypothesis() for _ in encoded]
    state, start = search.initial_state(len(encoded)), 0
    for size in sizes:
        valid = (lengths - start).clamp(0, size)
        state = search.step(encoded[:, start : start + size], valid, state)
        taken, state = search.take(state)
        append(whole, taken)
        start += size
    append(whole, search.hypotheses(state))
    return whole, state


def append(whole: list[Hypothesis], more: list[Hypothesis]) -> None:
    for a, b in zip(whole, more, strict=True):
        a.tokens += b.tokens
        a.frames += b.frames
        a.log_probs += b.log_probs


def assert_same(found: list[Hypothesis], wanted: list[Hypothesis]) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert (a.tokens, a.frames) == (b.tokens, b.frames)
        torch.testing.assert_close(a.log_probs, b.log_probs, atol=ROUNDING, rtol=ROUNDING)
