"""Join and unjoin are tanh of a sum and its derivative, on the cells that are kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

kernels = pytest.importorskip("zipformer.ops.kernels", reason="triton is not installed")

CASES = [  # frames, tokens, rows kept, channels
    (9, 6, 3, 5),
    (1, 4, 2, 16),
    (6, 0, 1, 3),
    (30, 3, 2, 7),
    (4, 5, 6, 300),
]
SHAPES = pytest.mark.parametrize("frames,tokens,num_kept,channels", CASES)


def problem(
    frames: int, tokens: int, num_kept: int, channels: int, device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """am, lm and begin of three utterances: one climbs, one stays low, one starts high."""
    last = tokens + 1 - num_kept
    climbing = torch.randint(0, last + 1, (frames,)).sort().values
    begin = torch.stack([climbing, climbing.clamp(max=1), torch.full_like(climbing, last)])
    am, lm = torch.randn(3, frames, channels), torch.randn(3, tokens + 1, channels)
    return am.to(device), lm.to(device), begin.to(device)


def plain(am: Tensor, lm: Tensor, begin: Tensor, num_kept: int) -> Tensor:
    row = begin.unsqueeze(2) + torch.arange(num_kept, device=begin.device)
    utterance = torch.arange(len(am), device=begin.device)[:, None, None]
    return torch.tanh(am.unsqueeze(2) + lm[utterance, row])


@SHAPES
def test_join(frames: int, tokens: int, num_kept: int, channels: int, device: str) -> None:
    am, lm, begin = problem(frames, tokens, num_kept, channels, device)
    found = kernels.join(am, lm, begin, num_kept)
    wanted = plain(am.double(), lm.double(), begin, num_kept)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)


@SHAPES
def test_unjoin(frames: int, tokens: int, num_kept: int, channels: int, device: str) -> None:
    am, lm, begin = problem(frames, tokens, num_kept, channels, device)
    wide = [x.double().requires_grad_() for x in (am, lm)]
    hidden = plain(*wide, begin, num_kept)
    grad = torch.randn_like(hidden)
    am_wanted, lm_wanted = torch.autograd.grad(hidden, wide, grad)

    lm_grad = torch.ones_like(lm)  # what was there stays
    am_grad = kernels.unjoin(grad.float(), hidden.detach().float(), begin, lm_grad)
    torch.testing.assert_close(am_grad.double(), am_wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(lm_grad.double(), 1 + lm_wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_costs_one_rounding(dtype: torch.dtype, device: str) -> None:
    am, lm, begin = problem(5, 4, 2, 12, device)
    am, lm = am.to(dtype), lm.to(dtype)
    hidden = kernels.join(am, lm, begin, 2)
    assert hidden.dtype == dtype
    wanted = plain(am.double(), lm.double(), begin, 2)
    precision = torch.finfo(dtype).eps
    torch.testing.assert_close(hidden.double(), wanted, rtol=precision, atol=1e-6)

    grad, lm_grad = torch.randn_like(hidden), torch.zeros_like(lm, dtype=torch.float32)
    am_grad = kernels.unjoin(grad, hidden, begin, lm_grad)
    assert am_grad.dtype == torch.float32
    wanted = (grad.double() * (1 - hidden.double() ** 2)).sum(dim=2)
    torch.testing.assert_close(am_grad.double(), wanted, rtol=1e-5, atol=1e-6)


def test_tanh_keeps_its_digits_everywhere(device: str) -> None:
    sizes = torch.logspace(-30, 2, 400, device=device)
    am = torch.cat([-sizes, sizes]).view(1, 1, -1)
    begin = torch.zeros(1, 1, dtype=torch.int64, device=device)
    found = kernels.join(am, torch.zeros_like(am), begin, 1)
    torch.testing.assert_close(found.flatten(), am.flatten().tanh(), rtol=5e-7, atol=0.0)
    strange = torch.tensor([[[torch.inf, -torch.inf, torch.nan, 0.0]]], device=device)
    found = kernels.join(strange, torch.zeros_like(strange), begin, 1)
    assert torch.equal(
        found.flatten().nan_to_num(7.0), torch.tensor([1.0, -1, 7, 0], device=device)
    )


def test_parts_of_larger_tensors(device: str) -> None:
    am, lm, begin = problem(9, 6, 3, 10, device)
    hidden, grad = plain(am, lm, begin, 3), torch.randn(3, 9, 3, 10, device=device)
    lm_wanted = torch.zeros_like(lm)
    am_wanted = kernels.unjoin(grad, hidden, begin, lm_wanted)

    by_channel = [x.mT.contiguous().mT for x in (am, lm)]
    found = kernels.join(*by_channel, begin.t().contiguous().t(), 3)
    torch.testing.assert_close(found, hidden)
    part = kernels.join(am[1:, 2:8, 1:], lm[1:, :, 1:], begin[1:, 2:8], 3)
    torch.testing.assert_close(part, hidden[1:, 2:8, :, 1:])

    lm_grad = torch.zeros(3, 10, 7, device=device).mT
    by_kept = grad.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    by_frame = hidden.transpose(0, 1).contiguous().transpose(0, 1)
    for at in (slice(0, 1), slice(1, 3)):
        tensors = (x[at] for x in (by_kept, by_frame, begin, lm_grad))
        torch.testing.assert_close(kernels.unjoin(*tensors), am_wanted[at])
    torch.testing.assert_close(lm_grad, lm_wanted)


def test_no_utterances(device: str) -> None:
    am, lm, begin = (x[:0] for x in problem(5, 3, 2, 4, device))
    hidden = kernels.join(am, lm, begin, 2)
    assert hidden.shape == (0, 5, 2, 4)
    assert kernels.unjoin(hidden, hidden, begin, lm).shape == am.shape
