"""The lattice's band alone gives what the whole lattice gives; steps of any size agree."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer import ops
from zipformer.losses import prune_ranges
from zipformer.ops import recursion

BOUNDARY = torch.tensor([[0, 0, 6, 11], [0, 0, 3, 9], [0, 0, 0, 4], [0, 0, 6, 0], [0, 0, 5, 5]])


def arcs(regular: bool) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    px = 3.0 * torch.randn(5, 11, 6, dtype=torch.float64)
    px[0, 2, 1] = -torch.inf
    return px, 3.0 * torch.randn(5, 11, 7, dtype=torch.float64)


@pytest.mark.parametrize("kept", [2, 4, 7])
@pytest.mark.parametrize("regular", [True, False])
def test_a_band_is_a_lattice_that_is_impossible_elsewhere(regular: bool, kept: int) -> None:
    px, py = arcs(regular)
    occupied = torch.rand(5, 6, 12 if regular else 11), torch.rand(5, 7, 11)
    ranges = prune_ranges(*occupied, BOUNDARY, kept)
    token = F.pad(px, (0, 1), value=-torch.inf).gather(2, ranges)
    blank = py.gather(2, ranges)
    found = ops.band_lattice(token, blank, ranges[..., 0], BOUNDARY, regular, 7)

    outside = torch.full((5, 11, 7), -torch.inf, dtype=torch.float64)
    px, py = outside.scatter(2, ranges, token)[..., :-1], outside.scatter(2, ranges, blank)
    total, px_occupied, py_occupied = ops.lattice(px, py, BOUNDARY, regular)
    assert total[0].isfinite() and total[1].isfinite()
    torch.testing.assert_close(found[0], total)
    torch.testing.assert_close(found[1], F.pad(px_occupied, (0, 1)).gather(2, ranges))
    torch.testing.assert_close(found[2], py_occupied.gather(2, ranges))


@pytest.mark.parametrize("regular", [True, False])
def test_small_and_large_steps_agree(regular: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ops.lattice(*arcs(regular), BOUNDARY, regular)
    monkeypatch.setattr(recursion, "FEW", 0)
    for a, b in zip(found, ops.lattice(*arcs(regular), BOUNDARY, regular), strict=True):
        torch.testing.assert_close(a, b)


def test_every_alignment_consumes_every_frame_once_and_emits_every_token_once() -> None:
    _, token, blank = ops.lattice(*arcs(True), BOUNDARY, True)
    for b, (_, _, num_tokens, frames) in enumerate(BOUNDARY.tolist()):
        if frames:
            assert blank[b].sum(dim=1)[:frames].tolist() == pytest.approx([1.0] * frames)
            assert token[b].sum(dim=0)[:num_tokens].tolist() == pytest.approx([1.0] * num_tokens)


@pytest.mark.parametrize("lm_scale", [0.0, 0.25])
def test_written_out_gradient_of_the_smoothed_arcs(lm_scale: float) -> None:
    torch.manual_seed(2)
    am = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    lm = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    symbols = torch.tensor([[1, 1], [3, 2]])
    weights = [torch.randn(2, 5, n, dtype=torch.float64) for n in (2, 3)]

    def results(backend: str) -> list[Tensor]:
        with ops.use(backend):
            found = ops.smoothed_arcs(am, lm, symbols, lm_scale, 0.0, 0)
        total = sum((w * x).sum() for w, x in zip(weights, found, strict=True))
        return [*found, *torch.autograd.grad(total, (am, lm))]

    for a, b in zip(results("fused"), results("reference"), strict=True):
        torch.testing.assert_close(a, b)
