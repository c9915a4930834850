"""Arc log-probabilities are those of a log-softmax, and so is their gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")

# One cell, few symbols, a tile that is not full, and more symbols than a tile has columns.
SHAPES = pytest.mark.parametrize("num_cells,vocab_size", [(1, 2), (37, 5), (3, 501), (2, 2100)])
BLANK = 1


def problem(num_cells: int, vocab_size: int, device: str) -> tuple[Tensor, Tensor]:
    logits = 3 * torch.randn(num_cells, vocab_size)
    logits[-1] = logits[-1].sort().values  # the largest in the last tile
    next_token = torch.randint(0, vocab_size, (num_cells,))
    next_token[0] = BLANK  # as in a last row
    return logits.to(device), next_token.to(device)


def plain(logits: Tensor, next_token: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    log_probs = logits.log_softmax(dim=1)
    return log_probs.gather(1, next_token.unsqueeze(1)).squeeze(1), log_probs[:, blank]


def gradient(
    logits: Tensor, next_token: Tensor, blank: int, grads: tuple[Tensor, Tensor]
) -> Tensor:
    """The gradient by ``logits`` that the kernels give."""
    logits = logits.clone()
    _, _, normalizer = kernels.arc_log_probs(logits, next_token, blank)
    kernels.arc_gradient_(logits, normalizer, next_token, blank, *grads)
    return logits


@SHAPES
def test_log_probs(num_cells: int, vocab_size: int, device: str) -> None:
    logits, next_token = problem(num_cells, vocab_size, device)
    token, no_token, normalizer = kernels.arc_log_probs(logits, next_token, BLANK)
    wide = logits.double()
    for found, wanted in zip((token, no_token), plain(wide, next_token, BLANK), strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(normalizer.double(), wide.logsumexp(1), rtol=1e-6, atol=1e-6)


@SHAPES
def test_gradient(num_cells: int, vocab_size: int, device: str) -> None:
    logits, next_token = problem(num_cells, vocab_size, device)
    grads = torch.randn(num_cells, device=device), torch.randn(num_cells, device=device)
    wide = logits.double().requires_grad_()
    (wanted,) = torch.autograd.grad(
        plain(wide, next_token, BLANK), wide, [x.double() for x in grads]
    )
    found = gradient(logits, next_token, BLANK, grads)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_read_exactly_and_rounded_once(dtype: torch.dtype, device: str) -> None:
    logits, next_token = problem(9, 21, device)
    logits = logits.to(dtype)
    found = kernels.arc_log_probs(logits, next_token, BLANK)
    wanted = kernels.arc_log_probs(logits.float(), next_token, BLANK)
    assert all(
        torch.equal(a, b) and a.dtype == torch.float32 for a, b in zip(found, wanted, strict=True)
    )

    grads = torch.rand(9, device=device), torch.rand(9, device=device)
    found = gradient(logits, next_token, BLANK, grads)
    assert found.dtype == dtype
    wanted = gradient(logits.float(), next_token, BLANK, grads)
    precision = torch.finfo(dtype).eps
    torch.testing.assert_close(found.float(), wanted, rtol=precision, atol=precision / 100)


def test_impossible_symbols(device: str) -> None:
    logits, next_token = problem(4, 2100, device)
    logits[0] = -torch.inf  # nothing can happen
    logits[1, next_token[1]] = -torch.inf
    logits[2, :2090] = -torch.inf  # a whole tile, of which the blank is part
    next_token[2] = 2095
    token, no_token, normalizer = kernels.arc_log_probs(logits, next_token, BLANK)
    assert normalizer[0] == 0 and normalizer.isfinite().all()
    assert token[:2].tolist() == [-torch.inf] * 2
    assert no_token.isneginf().tolist() == [True, False, True, False]
    wanted = plain(logits.double(), next_token, BLANK)
    torch.testing.assert_close(token[1:].double(), wanted[0][1:], rtol=1e-5, atol=1e-5)

    # Nothing passes an arc that cannot be, so no gradient comes back to it.
    grads = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    found = gradient(logits, next_token, BLANK, tuple(x.to(device) for x in grads))
    assert found.isfinite().all() and found[0].abs().max() == 0
    torch.testing.assert_close(found.sum(dim=1), torch.zeros(4, device=device), rtol=0, atol=1e-5)


def test_large_logits_do_not_overflow(device: str) -> None:
    logits, next_token = problem(3, 2100, device)
    logits = 1e4 * logits
    for found, wanted in zip(
        kernels.arc_log_probs(logits, next_token, BLANK),
        plain(logits.double(), next_token, BLANK),
        strict=False,
    ):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)


def test_nan_is_not_hidden(device: str) -> None:
    logits, next_token = problem(3, 2100, device)
    logits[0, 7] = torch.nan
    logits[1, 2099] = torch.nan
    next_token[2] = 2100  # no symbol
    token, no_token, _ = kernels.arc_log_probs(logits, next_token, BLANK)
    assert token.isnan().all()
    assert no_token.isnan().tolist() == [True, True, False]


def test_strided_logits(device: str) -> None:
    logits, next_token = problem(6, 9, device)
    grads = torch.randn(6, device=device), torch.randn(6, device=device)
    wanted = kernels.arc_log_probs(logits, next_token, BLANK)
    by_symbol = logits.t().contiguous().t()
    found = kernels.arc_log_probs(by_symbol, next_token, BLANK)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))

    kernels.arc_gradient_(by_symbol, wanted[2], next_token, BLANK, *grads)
    assert torch.equal(by_symbol, gradient(logits, next_token, BLANK, grads))


def test_no_cells(device: str) -> None:
    none, logits = torch.zeros(0, device=device), torch.zeros(0, 5, device=device)
    found = kernels.arc_log_probs(logits, none.long(), 0)
    assert [x.shape for x in found] == [(0,)] * 3
    kernels.arc_gradient_(logits, none, none.long(), 0, none, none)
