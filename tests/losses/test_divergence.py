"""Divergences between two views of a batch, against lattices written out cell by cell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zipformer.losses import (
    ctc_consistency,
    joined,
    lattice_consistency,
    lattice_distillation,
    prune_ranges,
    similarity_distance,
)

B, T, U, V, D, S = 3, 6, 4, 5, 7, 3
BOUNDARY = torch.tensor([[0, 0, 4, 6], [0, 0, 1, 4], [0, 0, 2, 5]])


class Case:
    """Two views with gradients, and a band that moves."""

    def __init__(self, vocab: int = V) -> None:
        torch.manual_seed(0)
        self.one, self.other = (torch.randn(B, T, D).double().requires_grad_() for _ in "ab")
        self.lm = torch.randn(B, U + 1, D).double().requires_grad_()
        self.output = nn.Linear(D, vocab).double()
        self.symbols = torch.randint(1, vocab, (B, U))
        self.ranges = prune_ranges(torch.rand(B, U, T + 1), torch.rand(B, U + 1, T), BOUNDARY, S)

    def found(self, function: object, **more: int) -> list[Tensor]:
        """The loss and all gradients."""
        total = function(  # type: ignore[operator]
            self.one, self.other, self.lm, self.output, self.symbols, self.ranges, BOUNDARY, **more
        )
        return [total, *self.gradients(total)]

    def gradients(self, total: Tensor) -> list[Tensor]:
        inputs = [self.one, self.other, self.lm, *self.output.parameters()]
        found = torch.autograd.grad(total, inputs, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]

    def probs(self, view: Tensor, b: int, t: int, row: int) -> Tensor:
        """(V,) of one cell."""
        return self.output(torch.tanh(view[b, t] + self.lm[b, row])).softmax(dim=0)

    def rows(self, b: int, t: int) -> list[int]:
        """Those kept that belong to the utterance."""
        return [r for r in self.ranges[b, t].tolist() if r <= BOUNDARY[b, 2]]


def brute_consistency(case: Case) -> Tensor:
    total = case.lm.new_zeros(())
    for b in range(B):
        for t in range(int(BOUNDARY[b, 3])):
            rows = case.rows(b, t)
            for r in rows:
                p, q = case.probs(case.one, b, t, r), case.probs(case.other, b, t, r)
                total = total + ((p - q) * (p.log() - q.log())).sum() / 2 / len(rows)
    return total


def brute_distillation(case: Case, shift: int) -> Tensor:
    total = case.lm.new_zeros(())
    for b in range(B):
        frames = int(BOUNDARY[b, 3])
        for t in range(frames):
            if not 0 <= t - shift < frames:
                continue
            rows = case.rows(b, t)
            for r in rows:
                p = case.probs(case.one, b, t - shift, r).detach()
                q = case.probs(case.other, b, t, r)
                groups = [[0]]
                if r < BOUNDARY[b, 2]:
                    groups.append([int(case.symbols[b, r])])
                taken = {v for group in groups for v in group}
                groups.append([v for v in range(len(p)) if v not in taken])
                for group in groups:
                    if group:
                        mass = p[group].sum()
                        total = total + mass * (mass / q[group].sum()).log() / len(rows)
    return total


def assert_equal(found: list[Tensor], wanted: list[Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("at_once", [1, 10**9])
def test_consistency(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(joined.LOGITS_AT_ONCE, "cpu", at_once)
    case = Case()
    wanted = brute_consistency(case)
    assert_equal(case.found(lattice_consistency), [wanted, *case.gradients(wanted)])


@pytest.mark.parametrize("vocab", [V, 2])
@pytest.mark.parametrize("shift", [-2, 0, 1])
def test_distillation(shift: int, vocab: int) -> None:
    case = Case(vocab)
    wanted = brute_distillation(case, shift)
    found = case.found(lattice_distillation, shift=shift)
    assert_equal(found, [wanted, *case.gradients(wanted)])
    assert found[1].abs().max() == 0  # the teacher learns nothing


def test_equal_views_are_not_apart() -> None:
    case = Case()
    case.other = case.one.detach().clone().requires_grad_()
    assert case.found(lattice_consistency)[0].item() == pytest.approx(0.0, abs=1e-12)
    assert case.found(lattice_distillation)[0].item() == pytest.approx(0.0, abs=1e-12)


def test_what_is_empty_after_shifting_counts_zero() -> None:
    case = Case()
    for found in case.found(lattice_distillation, shift=T):
        assert found.abs().max() == 0


def test_padding_changes_nothing() -> None:
    case = Case()
    before = case.found(lattice_consistency)[0], case.found(lattice_distillation, shift=1)[0]
    with torch.no_grad():
        for b in range(B):
            for x, valid in ((case.one, 3), (case.other, 3)):
                x[b, BOUNDARY[b, valid] :] = 99.0
            case.lm[b, BOUNDARY[b, 2] + 1 :] = -99.0
            case.symbols[b, BOUNDARY[b, 2] :] = 1
    after = case.found(lattice_consistency)[0], case.found(lattice_distillation, shift=1)[0]
    assert_equal(list(after), list(before))


def test_ctc_consistency_is_symmetric_and_its_targets_stand_still() -> None:
    torch.manual_seed(1)
    logits = [torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True) for _ in "ab"]
    lengths = torch.tensor([4, 2])
    one, other = (x.log_softmax(dim=-1) for x in logits)
    found = ctc_consistency(one, other, lengths)
    p, q = one.exp(), other.exp()
    valid = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).unsqueeze(2)
    assert found.item() == pytest.approx((((p - q) * (one - other)) * valid).sum().item() / 2)
    grads = torch.autograd.grad(found, logits)
    torch.testing.assert_close(grads[0], (p - q).detach() / 2 * valid)
    torch.testing.assert_close(grads[1], (q - p).detach() / 2 * valid)


def test_similarity_distance_compares_pairs_of_utterances() -> None:
    torch.manual_seed(2)
    one, other = torch.randn(3, 4, 5), torch.randn(3, 4, 2)
    lengths = torch.tensor([4, 1, 3])
    matrices = []
    for x in (one, other):
        rows = [x[b, : lengths[b]] for b in range(3)]
        gram = torch.zeros(3, 3)
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                common = min(len(a), len(b))
                gram[i, j] = (a[:common] * b[:common]).sum()
        matrices.append(gram / gram.square().sum(dim=1, keepdim=True).sqrt())
    wanted = (matrices[0] - matrices[1]).square().sum() / 9
    torch.testing.assert_close(similarity_distance(one, other, lengths), wanted)
    assert similarity_distance(one, 3.0 * one, lengths).item() == pytest.approx(0.0, abs=1e-12)


def test_views_of_other_shapes_are_refused() -> None:
    case = Case()
    case.other = torch.randn(B, T - 1, D).double()
    with pytest.raises(ValueError, match="of one shape"):
        case.found(lattice_consistency)
    with pytest.raises(ValueError, match="lengths"):
        similarity_distance(case.one, case.one, torch.tensor([1]))
    with pytest.raises(ValueError, match="lengths"):
        ctc_consistency(case.one, case.one, torch.tensor([1]))
