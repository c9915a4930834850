"""A predictor and a joiner with much to say, and encoder frames for them."""

from __future__ import annotations

import torch
from tolerances import ROUNDING
from torch import Tensor

from zipformer.decoding.protocol import Hypothesis
from zipformer.heads.joiner import Joiner
from zipformer.heads.predictor import StatelessPredictor

V, D, UNK = 7, 6, 2


def talkative_heads(seed: int = 0) -> tuple[StatelessPredictor, Joiner]:
    """Weights large enough that every token, blanks, and the history matter."""
    generator = torch.Generator().manual_seed(seed)
    predictor, joiner = StatelessPredictor(V, 8).eval(), Joiner(D, 8, 9, V).eval()
    with torch.no_grad():
        for p in (*predictor.parameters(), *joiner.parameters()):
            p.copy_(torch.randn(p.shape, generator=generator))
    return predictor, joiner


def frames(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed))


def assert_same(found: list[Hypothesis], wanted: list[Hypothesis]) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert (a.tokens, a.frames) == (b.tokens, b.frames)
        torch.testing.assert_close(a.log_probs, b.log_probs, atol=ROUNDING, rtol=ROUNDING)
