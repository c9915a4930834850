"""The lattice's band alone gives what the whole lattice gives; steps of any size agree."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zipformer import ops
from zipformer.losses import prune_ranges
from zipformer.ops import forward_backward

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


@pytest.mark.parametrize("ring", [False, True])
def test_probabilities_and_logarithms_agree(ring: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    arcs = 4.0 * torch.randn(2, 3, 40, 6, dtype=torch.float64)  # more steps than one scaling
    if not ring:
        arcs[0, ..., 0] = -torch.inf
    num_steps, last = torch.tensor([40, 23, 9]), torch.tensor([5, 2, 4])

    def results() -> tuple[Tensor, Tensor]:
        return forward_backward.forward_backward(arcs.clone(), num_steps, last, ring)

    found = results()
    monkeypatch.setattr(forward_backward, "_with_probabilities", _nothing_is_exact)
    again = results()
    assert found[0].isfinite().all()
    torch.testing.assert_close(found[0], again[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], again[1], rtol=1e-9, atol=1e-12)


def _nothing_is_exact(arcs: Tensor, last: Tensor, _: bool) -> tuple[Tensor, Tensor, Tensor]:
    return arcs.new_zeros(len(last)), torch.zeros_like(arcs), torch.zeros_like(last, dtype=bool)


@pytest.mark.parametrize("regular", [True, False])
def test_what_is_out_of_the_range_of_float64_is_not_lost(regular: bool) -> None:
    """The likeliest path looks hopeless, by e^-1000, for as long as others have hope."""
    px = torch.full((1, 40, 1), -torch.inf, dtype=torch.float64)
    py = torch.zeros(1, 40, 2, dtype=torch.float64)
    px[:, 0], py[:, 1:11, 1] = -700.0, -30.0  # speaks in the first frame
    px[:, 39], py[:, 15:37, 0] = 0.0, -60.0  # speaks in the last
    boundary = torch.tensor([[0, 0, 1, 40]])
    total, token, _ = ops.lattice(px, py, boundary, regular)
    assert total.item() == pytest.approx(-1000.0)
    assert token[0, 0, 0].item() == pytest.approx(1.0)

    arcs = torch.stack([torch.cat([torch.full_like(px, -torch.inf), px], dim=2), py])
    scaled, _, exact = forward_backward._with_probabilities(arcs, torch.tensor([1]), False)
    assert scaled.item() < -1300.0  # the case is one
    assert not exact.item()


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
