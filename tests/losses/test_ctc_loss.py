"""Laws of the CTC loss."""

from __future__ import annotations

from itertools import groupby, product

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zipformer.losses import ctc_loss


def padded(tokens: list[list[int]], filler: int = 1) -> tuple[Tensor, list[int]]:
    """(B, U) with anything behind the tokens, and their numbers."""
    rows = [torch.tensor(ids, dtype=torch.long) for ids in tokens]
    return pad_sequence(rows, True, filler), [len(ids) for ids in tokens]


def by_enumeration(log_probs: Tensor, tokens: list[int], blank: int) -> Tensor:
    """Sums the probability of every label sequence (T, V) that collapses to ``tokens``."""
    paths = [
        sum(log_probs[t, v] for t, v in enumerate(path))
        for path in product(range(log_probs.shape[1]), repeat=len(log_probs))
        if [v for v, _ in groupby(path) if v != blank] == tokens
    ]
    return -torch.stack(paths).logsumexp(dim=0)


@pytest.mark.parametrize(
    "blank,tokens", [(0, [[1, 2], [2, 2], [], [1]]), (2, [[0], [1, 0], [], []])]
)
def test_loss_and_gradient_are_the_sum_over_paths(blank: int, tokens: list[list[int]]) -> None:
    logits = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([5, 4, 3, 1])
    log_probs = logits.log_softmax(dim=-1)
    wanted = torch.stack(
        [
            by_enumeration(x[:t], ids, blank)
            for x, t, ids in zip(log_probs, lengths, tokens, strict=True)
        ]
    )
    wanted_grad = torch.autograd.grad(wanted.sum(), logits, retain_graph=True)[0]
    found = ctc_loss(log_probs, lengths.tolist(), *padded(tokens), blank=blank, reduction="none")
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), logits)[0], wanted_grad)


def test_it_is_a_sum_unless_asked_otherwise() -> None:
    log_probs = torch.randn(2, 5, 3).log_softmax(dim=-1)
    each, total, mean = (
        ctc_loss(log_probs, [5, 4], *padded([[1], [2, 1]]), **choice)
        for choice in ({"reduction": "none"}, {}, {"reduction": "mean"})
    )
    torch.testing.assert_close(total, each.sum())
    torch.testing.assert_close(mean, each.mean())


def test_too_few_frames_count_zero_and_leave_the_others_alone() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    log_probs = logits.log_softmax(dim=-1)
    tokens = padded([[1, 1], [1, 2]])  # equal neighbours need three frames
    loss = ctc_loss(log_probs, [2, 3], *tokens, reduction="none")
    assert loss[0] == 0 and loss[1] > 0
    loss.sum().backward()
    assert logits.grad[0].abs().max() == 0 and logits.grad[1].isfinite().all()


def test_half_precision_gives_a_float32_loss() -> None:
    log_probs = torch.randn(2, 5, 3).log_softmax(dim=-1).bfloat16()
    loss = ctc_loss(log_probs, [5, 4], *padded([[1], [2, 1]]))
    wanted = ctc_loss(log_probs.float(), [5, 4], *padded([[1], [2, 1]]))
    assert loss.dtype == torch.float32
    assert torch.equal(loss, wanted)


def test_empty_batch_is_zero() -> None:
    log_probs = torch.zeros(0, 5, 3, requires_grad=True)
    loss = ctc_loss(log_probs, [], torch.zeros(0, 0).long(), [])
    loss.backward()
    assert loss == 0


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"log_probs .*\(2, 5, 3\), \(1, 1\), 2 and 1"):
        ctc_loss(torch.zeros(2, 5, 3), [5, 5], *padded([[1]]))
