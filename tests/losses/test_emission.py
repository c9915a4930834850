"""What favours early tokens, against alignments written out one by one."""

from __future__ import annotations

import pytest
import torch
from losses import brute_force
from torch import Tensor, nn

from zipformer import ops
from zipformer.losses import Emission, pruned_joiner_loss, smoothed_transducer_loss

T, U, V = 4, 2, 3
SYMBOLS = [1, 2]
BOUNDARY = torch.tensor([[0, 0, U, T]])


def written_out(scores: Tensor, emission: Emission) -> Tensor:
    """The loss of (T, U + 1, V) log-probabilities whose tokens are favoured."""
    favoured = scores.clone()
    for t in range(T):
        for u, v in enumerate(SYMBOLS):
            token = scores[t, u, v] + emission.delay_penalty * ((T - 1) / 2 - t)
            favoured[t, u, v] = token + emission.fastemit * (token - token.detach())
    return brute_force.loss(favoured, SYMBOLS, "regular")


@pytest.mark.parametrize("emission", [Emission(0.5), Emission(0.0, 0.3), Emission(0.1, 0.2)])
@pytest.mark.parametrize("kind", ["smoothed", "joiner", "plain joiner"])
def test_against_all_alignments(emission: Emission, kind: str) -> None:
    torch.manual_seed(0)
    width = V if kind == "smoothed" else 6
    am = torch.randn(1, T, width, dtype=torch.float64, requires_grad=True)
    lm = torch.randn(1, U + 1, width, dtype=torch.float64, requires_grad=True)
    output = nn.Linear(6, V).double()
    symbols = torch.tensor([SYMBOLS])
    if kind == "smoothed":
        found = smoothed_transducer_loss(am, lm, symbols, BOUNDARY, 0.25, 0.0, emission=emission)
        scores = brute_force.smoothed_scores(am, lm, 0.25, 0.0)[0]
    else:
        ranges = torch.arange(U + 1).expand(1, T, -1)
        with ops.use("fused" if kind == "joiner" else "reference"):
            found = pruned_joiner_loss(
                am, lm, output, symbols, ranges, BOUNDARY, reduction="sum", emission=emission
            )
        scores = output(torch.tanh(am[0, :, None] + lm[0, None])).log_softmax(dim=-1)
    wanted = written_out(scores, emission)
    torch.testing.assert_close(found.sum(), wanted)
    for a, b in zip(
        torch.autograd.grad(found.sum(), (am, lm), retain_graph=True),
        torch.autograd.grad(wanted, (am, lm)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_a_delay_penalty_favours_early_tokens() -> None:
    am, lm = torch.zeros(1, T, V), torch.zeros(1, U + 1, V)
    symbols, when = torch.tensor([SYMBOLS]), []
    for penalty in (0.0, 1.0):
        _, (px_grad, _) = smoothed_transducer_loss(  # type: ignore[misc]
            am, lm, symbols, BOUNDARY, 0.0, 0.0, return_grad=True, emission=Emission(0.0, penalty)
        )
        when.append((px_grad[0] * torch.arange(T + 1)).sum().item())
    assert when[1] < when[0] - 0.5


def test_impossible_tokens_stay_impossible() -> None:
    token = torch.tensor([[[-torch.inf, -1.0]]], requires_grad=True)
    favoured = Emission(0.5, 0.1)(token, torch.tensor([1]))
    assert favoured[0, 0].tolist() == [-torch.inf, -1.0]
    favoured[0, 0, 1].backward()
    assert token.grad is not None and token.grad[0, 0].tolist() == [0.0, 1.5]
