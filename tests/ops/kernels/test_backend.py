"""A training step by kernels is a training step."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("triton", reason="triton is not installed")

from zipformer import ops
from zipformer.context import Context
from zipformer.losses import pruned_joiner_loss
from zipformer.nn.schedule import set_progress
from zipformer.nn.zipformer.config import ZipformerConfig
from zipformer.nn.zipformer.encoder import Encoder

TINY = ZipformerConfig(
    downsampling=(1, 2),
    num_layers=(1, 1),
    dims=(8, 12),
    unmasked_dims=(8, 8),
    query_head_dim=4,  # type: ignore[arg-type]
    pos_head_dim=2,  # type: ignore[arg-type]
    value_head_dim=4,  # type: ignore[arg-type]
    num_heads=(2, 2),
    feedforward_dims=(8, 8),
    kernels=(3, 3),
    pos_dim=4,
    frontend_channels=(2, 2, 4),
    num_features=16,
)


def step(backend: str, device: str) -> list[Tensor]:
    """Loss and all gradients of one step with Balancers and Whiteners at work."""
    torch.manual_seed(0)
    encoder = Encoder(TINY).to(device).train()
    set_progress(encoder, 100.0)
    output = nn.Linear(12, 5, device=device)
    features = torch.randn(2, 33, 16, device=device)
    lengths = torch.tensor([33, 25], device=device)
    lm = torch.randn(2, 3, 12, device=device)
    symbols = torch.tensor([[1, 2], [4, 0]], device=device)
    torch.manual_seed(4)
    with ops.use(backend):
        out, _ = encoder(features, lengths, Context(4, 8), "masked")
        sizes = torch.tensor([[0, 0, 2, 7], [0, 0, 1, 5]], device=device)
        ranges = torch.zeros(2, out.shape[1], 3, dtype=torch.long, device=device)
        ranges += torch.arange(3, device=device)
        loss = pruned_joiner_loss(out, lm, output, symbols, ranges, sizes, reduction="sum")
        loss.backward()
    return [loss.detach(), *(p.grad for p in encoder.parameters() if p.grad is not None)]


def test_kernels_give_the_gradients_of_the_formulas(device: str) -> None:
    found, wanted = step("triton", device), step("reference", device)
    assert len(found) == len(wanted) > 50
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-4)


def test_kernels_asked_for_without_a_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cuda = importlib.import_module("zipformer.ops.on_cuda")
    monkeypatch.setattr(on_cuda, "INTERPRETED", False)
    with ops.use("triton"), pytest.raises(ValueError, match="set ZIPFORMER_OPS=fused"):
        ops.swoosh_l(torch.zeros(2))
