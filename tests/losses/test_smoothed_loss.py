"""Laws of the simple transducer loss and of the lattice sum under it."""

from __future__ import annotations

import pytest
import torch
from losses import brute_force
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from zipformer.losses import lattice_log_prob, smoothed_transducer_loss

TYPES = ["regular", "modified", "constrained"]
SIZES = [(5, 3), (4, 0), (3, 3), (1, 1), (6, 2)]  # frames and tokens of each utterance
VOCAB = 5


def batch(sizes: list[tuple[int, int]] = SIZES, blank: int = 0) -> tuple[Tensor, ...]:
    """Scores in float64 with noise in the padding, symbols with nonsense in it, and sizes."""
    frames, tokens = (max(column) for column in zip(*sizes, strict=True))
    am = 2 * torch.randn(len(sizes), frames, VOCAB, dtype=torch.float64)
    lm = 2 * torch.randn(len(sizes), tokens + 1, VOCAB, dtype=torch.float64)
    symbols = torch.full((len(sizes), tokens), -7)
    for row, (_, u) in zip(symbols, sizes, strict=True):
        row[:u] = (torch.randint(1, VOCAB, (u,)) + blank) % VOCAB
    boundary = torch.tensor([[0, 0, u, t] for t, u in sizes])
    return am, lm, symbols, boundary


def cut(scores: Tensor, symbols: Tensor, sizes: Tensor) -> tuple[Tensor, list[int]]:
    _, _, u, t = sizes.tolist()
    return scores[:t, : u + 1], symbols[:u].tolist()


@pytest.mark.parametrize("lm_scale,am_scale", [(0.0, 0.0), (0.25, 0.0), (0.1, 0.2), (0.6, 0.4)])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_loss_and_gradients_are_the_sum_over_alignments(
    rnnt_type: str, lm_scale: float, am_scale: float
) -> None:
    am, lm, symbols, boundary = batch(blank=2)
    am.requires_grad_(), lm.requires_grad_()
    scores = brute_force.smoothed_scores(am, lm, lm_scale, am_scale)
    wanted = torch.stack(
        [
            brute_force.loss(*cut(*one), rnnt_type, blank=2)
            for one in zip(scores, symbols, boundary, strict=True)
        ]
    )
    weights = torch.randn(len(wanted), dtype=torch.float64)
    wanted_grads = torch.autograd.grad(wanted @ weights, [am, lm])
    found = smoothed_transducer_loss(
        am, lm, symbols, boundary, lm_scale, am_scale, blank=2, rnnt_type=rnnt_type
    )
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found @ weights, [am, lm]), wanted_grads)


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_returned_gradients_are_shares_of_alignments(rnnt_type: str) -> None:
    am, lm, symbols, boundary = batch()
    _, (px_grad, py_grad) = smoothed_transducer_loss(
        am, lm, symbols, boundary, 0.25, 0.0, rnnt_type=rnnt_type, return_grad=True
    )
    scores = brute_force.smoothed_scores(am, lm, 0.25, 0.0)
    for one, px, py in zip(
        zip(scores, symbols, boundary, strict=True), px_grad, py_grad, strict=True
    ):
        token, no_token = brute_force.occupations(*cut(*one), rnnt_type)
        wanted_px, wanted_py = torch.zeros_like(px), torch.zeros_like(py)
        wanted_px[: token.shape[0], : token.shape[1]] = token
        wanted_py[: no_token.shape[0], : no_token.shape[1]] = no_token
        torch.testing.assert_close(px, wanted_px)
        torch.testing.assert_close(py, wanted_py)


@pytest.mark.parametrize("extra", [0, 1], ids=["modified", "regular"])
def test_lattice_gradient_is_the_numerical_one(extra: int) -> None:
    px = torch.randn(3, 2, 4 + extra, dtype=torch.float64, requires_grad=True)
    py = torch.randn(3, 3, 4, dtype=torch.float64, requires_grad=True)
    boundary = torch.tensor([[0, 0, 2, 4], [0, 0, 1, 3], [0, 0, 0, 1]])
    assert torch.autograd.gradcheck(lambda px, py: lattice_log_prob(px, py, boundary)[0], (px, py))


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_utterance_alone_and_in_a_batch_are_equal(rnnt_type: str) -> None:
    am, lm, symbols, boundary = batch()
    together = smoothed_transducer_loss(am, lm, symbols, boundary, 0.25, 0.0, rnnt_type=rnnt_type)
    for i, (_, _, u, t) in enumerate(boundary.tolist()):
        alone = smoothed_transducer_loss(
            am[i : i + 1, :t],
            lm[i : i + 1, : u + 1],
            symbols[i : i + 1, :u],
            boundary[i : i + 1],
            0.25,
            0.0,
            rnnt_type=rnnt_type,
        )
        torch.testing.assert_close(together[i : i + 1], alone)


def test_float32_is_as_good_as_float64_on_a_long_utterance() -> None:
    am, lm, symbols, boundary = batch([(500, 60)])
    results = []
    for dtype in (torch.float64, torch.float32):
        x, y = (z.to(dtype).requires_grad_() for z in (am, lm))
        loss = smoothed_transducer_loss(x, y, symbols, boundary, 0.25, 0.0)
        results.append([loss.double(), *(g.double() for g in torch.autograd.grad(loss, [x, y]))])
    for wide, narrow in zip(*results, strict=True):
        assert (wide - narrow).abs().max() <= 1e-5 * wide.abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_also_under_autocast(dtype: torch.dtype) -> None:
    am, lm, symbols, boundary = batch()
    am, lm = am.to(dtype), lm.to(dtype)
    wanted = smoothed_transducer_loss(am.float(), lm.float(), symbols, boundary, 0.25, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = smoothed_transducer_loss(am, lm, symbols, boundary, 0.25, 0.1)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


class _LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest result of any operation."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, Tensor):
                self.largest = max(self.largest, x.numel())
        return result


def test_the_lattice_never_exists_with_the_vocabulary_as_an_axis() -> None:
    frames, tokens, vocab = 20, 10, 300
    am, lm = torch.randn(1, frames, vocab), torch.randn(1, tokens + 1, vocab)
    symbols, boundary = torch.ones(1, tokens).long(), torch.tensor([[0, 0, tokens, frames]])
    am.requires_grad_(), lm.requires_grad_()
    with _LargestTensor() as seen:
        smoothed_transducer_loss(am, lm, symbols, boundary, 0.25, 0.2).sum().backward()
    assert am.numel() <= seen.largest < frames * (tokens + 1) * vocab / 10


def test_non_contiguous_scores_give_the_same() -> None:
    am, lm, symbols, boundary = batch()
    wanted = smoothed_transducer_loss(am, lm, symbols, boundary, 0.25, 0.1)
    found = smoothed_transducer_loss(
        am.mT.contiguous().mT, lm.mT.contiguous().mT, symbols.T.contiguous().T, boundary, 0.25, 0.1
    )
    torch.testing.assert_close(found, wanted)


def test_reductions_are_over_the_batch() -> None:
    am, lm, symbols, boundary = batch()
    each, total, mean = (
        smoothed_transducer_loss(am, lm, symbols, boundary, 0.25, 0.0, reduction=name)
        for name in ("none", "sum", "mean")
    )
    assert each.shape == (len(SIZES),)
    torch.testing.assert_close(total, each.sum())
    torch.testing.assert_close(mean, each.mean())


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_empty_batch_has_no_losses(rnnt_type: str) -> None:
    am, lm = torch.randn(0, 4, VOCAB, requires_grad=True), torch.randn(0, 3, VOCAB)
    symbols, boundary = torch.zeros(0, 2).long(), torch.zeros(0, 4).long()
    loss, (px_grad, _) = smoothed_transducer_loss(
        am, lm, symbols, boundary, 0.25, 0.1, rnnt_type=rnnt_type, return_grad=True
    )
    loss.sum().backward()
    assert loss.shape == (0,) and px_grad.shape[:2] == (0, 2)


@pytest.mark.parametrize("rnnt_type", ["modified", "constrained"])
def test_more_tokens_than_frames_is_infinite_and_pulls_at_nothing(rnnt_type: str) -> None:
    am, lm, symbols, boundary = batch([(2, 3), (4, 3)])
    am.requires_grad_(), lm.requires_grad_()
    loss, (px_grad, py_grad) = smoothed_transducer_loss(
        am, lm, symbols, boundary, 0.25, 0.1, rnnt_type=rnnt_type, return_grad=True
    )
    assert loss[0] == torch.inf and loss[1].isfinite()
    assert px_grad[0].abs().max() == 0 and py_grad[0].abs().max() == 0
    loss.sum().backward()
    assert am.grad.isfinite().all() and lm.grad.isfinite().all()
    assert am.grad[0].abs().max() == 0 and am.grad[1].abs().max() > 0


@pytest.mark.parametrize("scales", [(0.25, 0.1), (0.5, 0.5)], ids=["joint", "halves"])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_impossible_tokens_are_infinite_losses_not_nan(
    rnnt_type: str, scales: tuple[float, float]
) -> None:
    am, lm, symbols, boundary = batch([(5, 3), (5, 3), (5, 3)])
    am[0, :, symbols[0, 1]] = -torch.inf  # a token that cannot be emitted
    am[1, 2] = -torch.inf  # a frame in which nothing can happen
    unused = next(v for v in range(1, VOCAB) if v not in symbols[2])
    am[2, :, unused] = -torch.inf  # a token that is not asked for
    am.requires_grad_(), lm.requires_grad_()
    loss = smoothed_transducer_loss(am, lm, symbols, boundary, *scales, rnnt_type=rnnt_type)
    assert loss[:2].tolist() == [torch.inf, torch.inf] and loss[2].isfinite()
    loss.sum().backward()
    assert am.grad.isfinite().all() and lm.grad.isfinite().all()


def test_no_frames_align_with_no_tokens_only() -> None:
    am, lm, symbols, boundary = batch([(3, 2), (0, 2), (0, 0)])
    for rnnt_type in TYPES:
        loss = smoothed_transducer_loss(am, lm, symbols, boundary, 0.0, 0.0, rnnt_type=rnnt_type)
        assert loss[1:].tolist() == [torch.inf, 0.0]
        loss = smoothed_transducer_loss(
            am[:, :0], lm, symbols, boundary * torch.tensor([1, 1, 1, 0]), 0, 0, rnnt_type=rnnt_type
        )
        assert loss.tolist() == [torch.inf, torch.inf, 0.0]


@pytest.mark.parametrize(
    "change,words",
    [
        ({"am": torch.zeros(2, 4)}, ["am", "(2, 4)"]),
        ({"lm": torch.zeros(2, 3, VOCAB + 1)}, ["lm", f"(2, 3, {VOCAB + 1})"]),
        ({"symbols": torch.zeros(2, 3).long()}, ["symbols", "(2, 2)", "(2, 3)"]),
        ({"symbols": torch.zeros(2, 2)}, ["symbols", "float32"]),
        ({"symbols": torch.full((2, 2), VOCAB)}, ["symbols", f"{VOCAB}"]),
        ({"boundary": torch.zeros(2, 2).long()}, ["boundary", "(2, 4)", "(2, 2)"]),
        ({"boundary": torch.tensor([[0, 0, 2, 4], [0, 0, 3, 4]])}, ["boundary", "tokens <= 2"]),
        ({"boundary": torch.tensor([[0, 0, 2, 5], [0, 0, 2, 4]])}, ["boundary", "frames <= 4"]),
        ({"boundary": torch.tensor([[0, 1, 2, 4], [0, 0, 2, 4]])}, ["boundary", "(0, 0"]),
        ({"blank": VOCAB}, ["blank", f"{VOCAB}"]),
        ({"rnnt_type": "standard"}, ["rnnt_type", "modified"]),
        ({"reduction": "average"}, ["reduction", "mean"]),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_wrong_arguments_are_named(change: dict, words: list[str]) -> None:
    right = {
        "am": torch.zeros(2, 4, VOCAB),
        "lm": torch.zeros(2, 3, VOCAB),
        "symbols": torch.ones(2, 2).long(),
        "boundary": torch.tensor([[0, 0, 2, 4], [0, 0, 2, 4]]),
    }
    with pytest.raises(ValueError) as error:
        smoothed_transducer_loss(**{**right, **change}, lm_scale=0.25, am_scale=0.0)
    assert all(word in str(error.value) for word in words), error.value


def test_arcs_of_two_lattices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 6\) and \(1, 3, 4\)"):
        lattice_log_prob(torch.zeros(1, 2, 6), torch.zeros(1, 3, 4), torch.zeros(1, 4).long())
