"""Joiner and pruned loss in tiles equal the joiner and the loss, one after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from zipformer import ops
from zipformer.losses import joined, prune_ranges, pruned_joiner_loss, smoothed_transducer_loss

TYPES = ["regular", "modified", "constrained"]
DIM = 6


class Case:
    """A ragged batch with ranges of its own; float64 unless told."""

    def __init__(
        self,
        rnnt_type: str = "regular",
        sizes: tuple[tuple[int, int], ...] = ((9, 4), (6, 0), (1, 0), (7, 5)),
        vocab_size: int = 8,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        torch.manual_seed(3)
        batch, frames, num_tokens = len(sizes), max(t for t, _ in sizes), max(u for _, u in sizes)
        self.am = torch.randn(batch, frames, DIM, dtype=dtype, requires_grad=True)
        self.lm = torch.randn(batch, num_tokens + 1, DIM, dtype=dtype, requires_grad=True)
        self.output = nn.Linear(DIM, vocab_size, dtype=dtype)
        self.symbols = torch.randint(1, vocab_size, (batch, num_tokens))
        self.boundary = torch.tensor([[0, 0, u, t] for t, u in sizes])
        am, lm = torch.randn(batch, frames, 5), torch.randn(batch, num_tokens + 1, 5)
        _, occupied = smoothed_transducer_loss(
            am, lm, self.symbols % 5, self.boundary, 0.2, 0.0, rnnt_type=rnnt_type, return_grad=True
        )
        self.ranges = prune_ranges(*occupied, self.boundary, 3)
        self.rnnt_type = rnnt_type
        self.inputs = [self.am, self.lm, *self.output.parameters()]

    def __call__(self, reduction: str = "sum") -> Tensor:
        return pruned_joiner_loss(
            self.am,
            self.lm,
            self.output,
            self.symbols,
            self.ranges,
            self.boundary,
            rnnt_type=self.rnnt_type,  # type: ignore[arg-type]
            reduction=reduction,  # type: ignore[arg-type]
        )

    def gradients(self, backend: str, scale: float = 1.0) -> list[Tensor]:
        with ops.use(backend):
            loss = self()
        return [loss.detach(), *torch.autograd.grad(scale * loss, self.inputs)]


@pytest.mark.parametrize("tiles", [1, 2, 9])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_tiles_change_nothing(rnnt_type: str, tiles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "TILES", tiles)
    case = Case(rnnt_type, ((9, 4), (6, 0), (3, 1), (7, 5)))
    found, wanted = case.gradients("fused", 3.0), case.gradients("reference", 3.0)
    assert wanted[0].isfinite()
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sizes", [((1, 0),), ((1, 1), (2, 2)), ((5, 0), (3, 0))])
def test_two_ids_single_frames_and_empty_targets(sizes: tuple[tuple[int, int], ...]) -> None:
    case = Case(sizes=sizes, vocab_size=2)
    for a, b in zip(case.gradients("fused"), case.gradients("reference"), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_sum_and_mean_are_those_of_the_single_losses() -> None:
    case = Case()
    single = case("none")
    assert single.shape == (4,)
    torch.testing.assert_close(case("sum"), single.sum())
    torch.testing.assert_close(case("mean"), single.mean())


def test_an_utterance_that_cannot_be_aligned_is_infinite() -> None:
    case = Case("modified", ((9, 4), (2, 4)))  # more tokens than frames to emit them in
    assert case("none")[1] == torch.inf
    assert case("sum") == torch.inf


def test_impossible_ids_have_no_gradient_and_impossible_cells_no_nan() -> None:
    case = Case()
    with torch.no_grad():
        assert case.output.bias is not None
        case.output.bias[7] = -torch.inf
        case.symbols[case.symbols == 7] = 1
    assert all(x.isfinite().all() for x in case.gradients("fused"))
    cells = ops.arcs(torch.full((2, 3), -torch.inf), torch.tensor([1, 2]), 0)
    assert cells.token.tolist() == cells.blank.tolist() == [-torch.inf] * 2
    assert not cells.gradient(torch.zeros(2), torch.zeros(2)).any()


def test_an_empty_batch_costs_nothing() -> None:
    case = Case()
    none = slice(0, 0)
    loss = pruned_joiner_loss(
        case.am[none],
        case.lm[none],
        case.output,
        case.symbols[none],
        case.ranges[none],
        case.boundary[none],
        reduction="sum",
    )
    loss.backward()
    assert loss == 0.0 and not case.output.weight.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(dtype: torch.dtype) -> None:
    """Half in, as under autocast; the loss itself is summed in float32."""
    case = Case(dtype=torch.float32)
    wanted = case.gradients("reference")
    am, lm = case.am.to(dtype), case.lm.to(dtype)
    loss = pruned_joiner_loss(
        am, lm, case.output, case.symbols, case.ranges, case.boundary, reduction="sum"
    )
    assert loss.dtype == torch.float32
    found = [loss.detach(), *torch.autograd.grad(loss, case.inputs)]
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).norm() <= 0.03 * b.norm()


class LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest tensor had that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, Tensor):
                self.elements = max(self.elements, x.numel())
        return result


def test_the_logits_never_exist_at_once() -> None:
    case = Case(sizes=((9, 4),) * 12, vocab_size=50, dtype=torch.float32)
    logits = 12 * 9 * 3 * 50
    largest = {}
    for backend in ("fused", "reference"):
        with LargestTensor() as seen:
            case.gradients(backend)
        largest[backend] = seen.elements
    assert largest["reference"] >= logits
    assert largest["fused"] <= logits // 3


def test_validation_computes_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case()
    wanted = case().detach()
    monkeypatch.setattr(ops, "unjoin", None)
    with torch.no_grad():
        assert torch.equal(case(), wanted)
    with pytest.raises(TypeError):
        case()


def test_no_frames_at_all() -> None:
    """Nothing to emit is certain then, and anything else impossible."""
    losses = []
    for num_tokens in (0, 2):
        boundary = torch.tensor([[0, 0, num_tokens, 0]])
        losses.append(
            pruned_joiner_loss(
                torch.randn(1, 0, DIM),
                torch.randn(1, 3, DIM),
                nn.Linear(DIM, 5),
                torch.tensor([[1, 2]]),
                torch.zeros(1, 0, 2, dtype=torch.long),
                boundary,
                reduction="sum",
            )
        )
    assert [x.item() for x in losses] == [0.0, torch.inf]


def test_ranges_that_no_alignment_can_follow_are_refused() -> None:
    case = Case()
    case.ranges = case.ranges.flip(1)
    with pytest.raises(ValueError, match="take them from prune_ranges"):
        case()
