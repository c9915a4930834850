"""The losses as training calls them, and who computes them."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zipformer import losses
from zipformer.heads.joiner import Joiner
from zipformer.losses import transducer_backend, transducer_losses

FRAMES, TOKENS, VOCAB = 9, 4, 7
LENGTHS, TOKEN_LENS = torch.tensor([9, 6, 4]), torch.tensor([4, 2, 0])


def model_outputs(dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    tokens = torch.randint(1, VOCAB, (3, TOKENS))
    return {
        "encoder_out": torch.randn(3, FRAMES, 6, dtype=dtype, requires_grad=True),
        "lengths": LENGTHS,
        "predictor_out": torch.randn(3, TOKENS + 1, 5, dtype=dtype, requires_grad=True),
        "tokens": tokens,
        "token_lens": TOKEN_LENS,
        "simple_am_proj": nn.Linear(6, VOCAB, dtype=dtype),
        "simple_lm_proj": nn.Linear(5, VOCAB, dtype=dtype),
        "joiner": Joiner(6, 5, 8, VOCAB).to(dtype),
    }


def test_losses_are_the_published_sequence() -> None:
    out = model_outputs()
    joiner = out["joiner"]
    simple, pruned = transducer_losses(**out, prune_range=3, lm_scale=0.3, am_scale=0.1)
    assert simple.shape == pruned.shape == (3,)

    boundary = torch.tensor([[0, 0, 4, 9], [0, 0, 2, 6], [0, 0, 0, 4]])
    wanted, (px_grad, py_grad) = losses.smoothed_transducer_loss(
        out["simple_am_proj"](out["encoder_out"]),
        out["simple_lm_proj"](out["predictor_out"]),
        out["tokens"],
        boundary,
        0.3,
        0.1,
        return_grad=True,
    )
    torch.testing.assert_close(simple, wanted)
    ranges = losses.prune_ranges(px_grad, py_grad, boundary, 3)
    frame, row = torch.arange(FRAMES)[:, None], ranges
    logits = torch.stack(
        [
            joiner(out["encoder_out"][b, frame], out["predictor_out"][b, row[b]], project=True)
            for b in range(3)
        ]
    )
    wanted = losses.pruned_transducer_loss(logits, out["tokens"], ranges, boundary)
    torch.testing.assert_close(pruned, wanted)


def test_a_range_over_all_rows_is_the_unpruned_loss() -> None:
    out = model_outputs()
    _, pruned = transducer_losses(**out, prune_range=TOKENS + 1)
    every = torch.arange(TOKENS + 1).expand(3, FRAMES, -1)
    logits = out["joiner"](out["encoder_out"].unsqueeze(2), out["predictor_out"].unsqueeze(1))
    boundary = torch.stack([torch.zeros(3), torch.zeros(3), TOKEN_LENS, LENGTHS], dim=1).long()
    wanted = losses.pruned_transducer_loss(logits, out["tokens"], every, boundary)
    torch.testing.assert_close(pruned, wanted)


def test_both_losses_teach_every_part() -> None:
    out = model_outputs()
    modules = nn.ModuleList([out[k] for k in ("simple_am_proj", "simple_lm_proj", "joiner")])
    simple, pruned = transducer_losses(**out, prune_range=3)
    (simple + pruned).sum().backward()
    parameters = [*modules.parameters(), out["encoder_out"], out["predictor_out"]]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in parameters)
    padding = out["encoder_out"].grad[1, int(LENGTHS[1]) :]
    assert padding.abs().max() == 0


@pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
def test_every_type_gives_finite_losses(rnnt_type: str) -> None:
    losses_ = transducer_losses(**model_outputs(), prune_range=3, rnnt_type=rnnt_type)
    assert all(x.isfinite().all() for x in losses_)


def test_mixed_precision_gives_float32_losses_near_the_full_ones() -> None:
    out = model_outputs()
    wanted = transducer_losses(**out)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = transducer_losses(**out)
    for x, y in zip(found, wanted, strict=True):
        assert x.dtype == torch.float32
        torch.testing.assert_close(x, y, rtol=2e-2, atol=0.1)


def test_batch_without_any_token() -> None:
    out = model_outputs()
    out["predictor_out"] = out["predictor_out"][:, :1]
    out["tokens"], out["token_lens"] = torch.zeros(3, 0).long(), torch.zeros(3).long()
    simple, pruned = transducer_losses(**out)
    assert simple.isfinite().all() and pruned.isfinite().all()


def fake_k2(calls: list[tuple[str, dict[str, Any]]]) -> ModuleType:
    """A module with k2's signatures, as documented for k2 1.24, that notes how it is called."""

    def rnnt_loss_smoothed(
        lm: Tensor,
        am: Tensor,
        symbols: Tensor,
        termination_symbol: int,
        lm_only_scale: float = 0.1,
        am_only_scale: float = 0.1,
        boundary: Tensor | None = None,
        rnnt_type: str = "regular",
        delay_penalty: float = 0.0,
        reduction: str | None = "mean",
        return_grad: bool = False,
    ) -> Any:
        calls.append(("smoothed", locals()))
        return losses.smoothed_transducer_loss(
            am,
            lm,
            symbols,
            boundary,
            lm_only_scale,
            am_only_scale,
            termination_symbol,
            rnnt_type,
            reduction,
            return_grad=return_grad,
        )

    def get_rnnt_prune_ranges(
        px_grad: Tensor, py_grad: Tensor, boundary: Tensor, s_range: int
    ) -> Tensor:
        calls.append(("ranges", locals()))
        return losses.prune_ranges(px_grad, py_grad, boundary, s_range)

    def do_rnnt_pruning(am: Tensor, lm: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(("prune", locals()))
        return losses.prune(am, lm, ranges)

    def rnnt_loss_pruned(
        logits: Tensor,
        symbols: Tensor,
        ranges: Tensor,
        termination_symbol: int,
        boundary: Tensor | None = None,
        rnnt_type: str = "regular",
        delay_penalty: float = 0.0,
        reduction: str | None = "mean",
        use_hat_loss: bool = False,
    ) -> Tensor:
        calls.append(("pruned", locals()))
        return losses.pruned_transducer_loss(
            logits, symbols, ranges, boundary, termination_symbol, rnnt_type, reduction
        )

    functions = [rnnt_loss_smoothed, get_rnnt_prune_ranges, do_rnnt_pruning, rnnt_loss_pruned]
    module = ModuleType("k2")
    module.__dict__.update({f.__name__: f for f in functions})
    return module


@pytest.mark.parametrize("rnnt_type", ["regular", "constrained"])
def test_k2_is_called_with_its_own_names(monkeypatch: pytest.MonkeyPatch, rnnt_type: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setitem(sys.modules, "k2", fake_k2(calls))
    out = model_outputs()
    settings = {"prune_range": 3, "lm_scale": 0.3, "am_scale": 0.1, "rnnt_type": rnnt_type}
    wanted = transducer_losses(**out, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        transducer_losses(**out, **settings, backend="k2", blank=2)
    assert [name for name, _ in calls] == ["smoothed", "ranges", "prune", "pruned"]
    smoothed, ranges, _, pruned = (SimpleNamespace(**arguments) for _, arguments in calls)
    assert (smoothed.lm_only_scale, smoothed.am_only_scale) == (0.3, 0.1)
    assert (smoothed.termination_symbol, pruned.termination_symbol) == (2, 2)
    assert (smoothed.rnnt_type, pruned.rnnt_type) == (rnnt_type, rnnt_type)
    assert (smoothed.reduction, pruned.reduction) == ("none", "none")
    assert smoothed.am.dtype == smoothed.lm.dtype == pruned.logits.dtype == torch.float32
    assert ranges.s_range == 3 and smoothed.return_grad
    for x, y in zip(transducer_losses(**out, **settings, backend="k2"), wanted, strict=True):
        assert torch.equal(x, y)


def test_missing_k2_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "k2", None)  # importing it fails
    with pytest.raises(ImportError, match="pip install k2.*loss.backend = 'torch'"):
        transducer_backend("k2")
    with pytest.raises(ImportError, match="torch and CUDA versions"):
        transducer_losses(**model_outputs(), backend="k2")


def test_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'warp': choose one of torch, k2"):
        transducer_backend("warp")
