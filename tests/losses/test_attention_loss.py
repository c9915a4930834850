"""Laws of the attention decoder's loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zipformer.losses import attention_loss


def case() -> tuple[Tensor, Tensor, Tensor]:
    logits = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    valid = torch.arange(4) < torch.tensor([4, 2, 1])[:, None]
    return logits, torch.randint(5, (3, 4)), valid


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_value_and_gradient_are_the_cross_entropy_with_smoothed_targets(smoothing: float) -> None:
    logits, targets, valid = case()
    wanted = logits.new_zeros(())
    for b, u in valid.nonzero().tolist():
        log_probs = logits[b, u] - logits[b, u].exp().sum().log()
        for v in range(5):
            target = smoothing / 5 + (1.0 - smoothing if v == targets[b, u] else 0.0)
            wanted = wanted - target * log_probs[v]
    found = attention_loss(logits, targets, valid, smoothing)
    torch.testing.assert_close(found, wanted)
    grads = [torch.autograd.grad(x, logits)[0] for x in (found, wanted)]
    torch.testing.assert_close(*grads)


def test_what_is_not_valid_counts_nothing() -> None:
    logits, targets, valid = case()
    loss = attention_loss(logits, targets, valid)
    other = torch.where(valid[:, :, None], logits, 100.0 * torch.randn_like(logits))
    changed = attention_loss(other, targets.masked_fill(~valid, 0), valid)
    assert torch.equal(loss, changed)
    loss.backward()
    assert (logits.grad.abs().amax(dim=2) > 0).equal(valid)


def test_it_is_a_sum_over_the_batch_unless_asked_otherwise() -> None:
    each, total, mean = (
        attention_loss(*[x.detach() for x in inputs], **choice)
        for inputs in [case()]
        for choice in ({"reduction": "none"}, {}, {"reduction": "mean"})
    )
    assert each.shape == (3,)
    torch.testing.assert_close(total, each.sum())
    torch.testing.assert_close(mean, each.mean())


def test_half_precision_gives_a_float32_loss() -> None:
    logits, targets, valid = case()
    half = logits.detach().bfloat16()
    loss = attention_loss(half, targets, valid)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, attention_loss(half.float(), targets, valid))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 5\), \(3, 3\) and \(3, 4\)"):
        logits, targets, valid = case()
        attention_loss(logits, targets[:, :3], valid)
