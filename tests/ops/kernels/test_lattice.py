"""The lattice kernel gives the sum over alignments, and its gradient."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

from zipformer.losses.lattice import lattice_log_prob

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")

REGULAR = pytest.mark.parametrize("regular", [True, False], ids=["regular", "modified"])
# Frames and tokens of each utterance; some have no alignment.
MIXED = [(7, 4), (5, 2), (3, 4), (6, 0), (1, 1), (1, 0), (0, 0), (0, 3)]
ONE_FRAME = [(1, 1), (1, 0)]
NO_TOKENS = [(4, 0), (2, 0)]
NO_FRAMES = [(0, 0), (0, 2)]
MANY_ROWS = [(5, 40), (40, 37)]
SIZES = [MIXED, ONE_FRAME, NO_TOKENS, NO_FRAMES, MANY_ROWS]
NAMES = ["mixed", "one_frame", "no_tokens", "no_frames", "many_rows"]


def problem(
    sizes: list[tuple[int, int]], regular: bool, dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Arcs with NaN wherever an utterance has none, and boundaries."""
    frames, tokens = max(t for t, _ in sizes), max(u for _, u in sizes)
    px = torch.full((len(sizes), tokens, frames + regular), torch.nan, dtype=dtype)
    py = torch.full((len(sizes), tokens + 1, frames), torch.nan, dtype=dtype)
    for i, (t, u) in enumerate(sizes):
        px[i, :u, :t] = torch.randn(u, t) - 1
        py[i, : u + 1, :t] = torch.randn(u + 1, t) - 1
    boundary = torch.tensor([[0, 0, u, t] for t, u in sizes])
    return px.to(device), py.to(device), boundary.to(device)


def by_node(px: Tensor, py: Tensor, sizes: tuple[int, int], regular: bool) -> list[Tensor]:
    """One utterance, node by node, with occupations from a graph through the recursion."""
    px, py = (x.double().cpu().nan_to_num().requires_grad_() for x in (px, py))
    frames, tokens = sizes
    score = {(0, 0): torch.zeros((), dtype=torch.float64)}
    for t in range(frames + 1):
        for u in range(tokens + 1):
            reached = []
            if (t - 1, u) in score:
                reached.append(score[t - 1, u] + py[u, t - 1])
            before = t if regular else t - 1
            if (before, u - 1) in score and before < frames:
                reached.append(score[before, u - 1] + px[u - 1, before])
            if reached:
                score[t, u] = torch.stack(reached).logsumexp(0)
    total = score.get((frames, tokens))
    if total is None:
        return [torch.tensor(-torch.inf), torch.zeros_like(px), torch.zeros_like(py)]
    total = total + 0 * (px.sum() + py.sum())
    return [total.detach(), *torch.autograd.grad(total, (px, py))]


def close(found: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            a.double().cpu(), b.double().cpu(), rtol=tolerance, atol=tolerance
        )


@REGULAR
@pytest.mark.parametrize("sizes", SIZES, ids=NAMES)
def test_it_is_the_sum_over_alignments(
    sizes: list[tuple[int, int]], regular: bool, device: str
) -> None:
    px, py, boundary = problem(sizes, regular, torch.float64, device)
    found = kernels.lattice(px, py, boundary)
    each = [by_node(px[i], py[i], size, regular) for i, size in enumerate(sizes)]
    wanted = [torch.stack([x.double() for x in parts]) for parts in zip(*each, strict=True)]
    close(found, wanted, 1e-12)


@REGULAR
def test_it_agrees_with_the_lattice_of_the_losses(regular: bool, device: str) -> None:
    px, py, boundary = problem([(11, 6), (9, 3), (2, 6)], regular, torch.float32, device)
    px[0, 2, 1:] = -torch.inf  # a token that only the first frame can emit
    py[1, :, 4] = -torch.inf  # a frame without blanks
    found = kernels.lattice(px, py, boundary)
    assert all(x.dtype == torch.float32 for x in found)
    close(found, lattice_log_prob(px, py, boundary), 1e-6)


@REGULAR
def test_memory_layout_does_not_matter(regular: bool, device: str) -> None:
    px, py, boundary = problem(MIXED, regular, torch.float32, device)
    wanted = kernels.lattice(px, py, boundary)
    frames_first = px.mT.contiguous().mT, py.mT.contiguous().mT
    batch_last = (x.permute(1, 2, 0).contiguous().permute(2, 0, 1) for x in (px, py))
    padded = torch.nn.functional.pad(px, (1, 2))[..., 1:-2], py
    for arcs in (frames_first, batch_last, padded):
        close(kernels.lattice(*arcs, boundary.t().contiguous().t()), wanted, 0.0)


def test_the_column_after_the_last_frame_is_not_needed(device: str) -> None:
    px, py, boundary = problem(MIXED, True, torch.float32, device)
    total, px_occupied, py_occupied = kernels.lattice(px, py, boundary)
    assert px_occupied[..., -1].abs().max() == 0
    shorter = kernels.lattice(px[..., :-1], py, boundary, regular=True)
    close(shorter, [total, px_occupied[..., :-1], py_occupied], 0.0)


@REGULAR
def test_nan_is_not_hidden(regular: bool, device: str) -> None:
    px, py, boundary = problem([(5, 2), (5, 2), (5, 2)], regular, torch.float32, device)
    px[0, 1, 3] = torch.nan
    py[1, 1, 2] = torch.nan
    total, _, _ = kernels.lattice(px, py, boundary)
    assert total.isnan().tolist() == [True, True, False]


@REGULAR
def test_an_empty_batch(regular: bool, device: str) -> None:
    px, py = torch.zeros(0, 2, 4 + regular, device=device), torch.zeros(0, 3, 4, device=device)
    results = kernels.lattice(px, py, torch.zeros(0, 4, dtype=torch.int64, device=device))
    assert [x.shape for x in results] == [(0,), px.shape, py.shape]


def test_sizes_beyond_the_tensors_read_nothing_outside(device: str) -> None:
    px, py, boundary = problem([(4, 2)], True, torch.float32, device)
    wanted = kernels.lattice(px, py, boundary)
    close(kernels.lattice(px, py, boundary + 1000), wanted, 0.0)


def test_more_rows_than_an_old_compiler_can_do_are_left_to_the_reference(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cuda = importlib.import_module("zipformer.ops.on_cuda")
    px, py, boundary = problem([(6, 9), (4, 3)], True, torch.float32, device)
    px, py = px[..., :-1].mT, py.mT
    wanted = on_cuda.lattice(px, py, boundary, True)
    monkeypatch.setattr(kernels, "lattice", None)
    monkeypatch.setattr(kernels, "MOST_ROWS", 9)
    close(on_cuda.lattice(px, py, boundary, True), wanted, 1e-6)
    monkeypatch.setattr(kernels, "MOST_ROWS", 10)
    with pytest.raises(TypeError):
        on_cuda.lattice(px, py, boundary, True)
