"""Laws of prune ranges, of pruning and of the pruned transducer loss."""

from __future__ import annotations

import pytest
import torch
from losses import brute_force
from torch import Tensor

from zipformer.losses import prune, prune_ranges, pruned_transducer_loss

TYPES = ["regular", "modified", "constrained"]
SIZES = [(5, 3), (6, 4), (3, 0), (1, 1)]  # frames and tokens of each utterance
FRAMES, TOKENS, VOCAB = 6, 4, 5


def targets(sizes: list[tuple[int, int]] = SIZES) -> tuple[Tensor, Tensor]:
    """Symbols with nonsense in the padding, and boundaries."""
    tokens = max(u for _, u in sizes)
    symbols = torch.full((len(sizes), tokens), 1000)
    for row, (_, u) in zip(symbols, sizes, strict=True):
        row[:u] = torch.randint(1, VOCAB, (u,))
    return symbols, torch.tensor([[0, 0, u, t] for t, u in sizes])


def band(begin: list[list[int]], width: int) -> Tensor:
    return torch.tensor(begin).unsqueeze(2) + torch.arange(width)


def written_out(logits: Tensor, ranges: Tensor, rows: int) -> Tensor:
    """Log-probabilities (T, U + 1, V) of one utterance, -inf outside the band."""
    scores = logits.new_full((len(logits), rows, VOCAB), -torch.inf)
    frame = torch.arange(len(logits))[:, None].expand_as(ranges)
    return scores.index_put((frame, ranges), logits.log_softmax(dim=-1))


@pytest.mark.parametrize("rnnt_type", TYPES)
@pytest.mark.parametrize("width", [5, 2], ids=["whole", "band"])
def test_loss_and_gradients_are_the_sum_over_alignments_in_the_band(
    rnnt_type: str, width: int
) -> None:
    symbols, boundary = targets()
    begin = [[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 3, 3], [0] * 6, [0] * 6]
    ranges = band(begin if width == 2 else [[0] * 6] * 4, width)
    logits = torch.randn(4, FRAMES, width, VOCAB, dtype=torch.float64, requires_grad=True)
    wanted = torch.stack(
        [
            brute_force.loss(
                written_out(x[:t], r[:t], TOKENS + 1)[:, : u + 1], s[:u].tolist(), rnnt_type
            )
            for x, r, s, (t, u) in zip(logits, ranges, symbols, SIZES, strict=True)
        ]
    )
    weights = torch.randn(4, dtype=torch.float64)
    possible = wanted.isfinite()
    wanted_grad = torch.autograd.grad(wanted[possible] @ weights[possible], logits)[0]
    found = pruned_transducer_loss(logits, symbols, ranges, boundary, rnnt_type=rnnt_type)
    torch.testing.assert_close(found, wanted)
    assert possible.sum() >= 3
    found_grad = torch.autograd.grad(found @ weights, logits)[0]
    torch.testing.assert_close(found_grad, wanted_grad.nan_to_num())


def test_logits_gradient_is_the_numerical_one() -> None:
    symbols, boundary = targets([(4, 2), (3, 1)])
    ranges = band([[0, 0, 1, 1], [0, 0, 0, 0]], 2)
    logits = torch.randn(2, 4, 2, VOCAB, dtype=torch.float64, requires_grad=True)
    for blank in (0, 3):
        assert torch.autograd.gradcheck(
            lambda x, blank=blank: pruned_transducer_loss(x, symbols, ranges, boundary, blank),
            logits,
        )


def test_a_wider_band_holds_more_alignments() -> None:
    symbols, boundary = targets([(8, 6)])
    logits = torch.randn(1, 8, 7, VOCAB)
    _, py_grad = torch.randn(1, 6, 9), torch.rand(1, 7, 8)
    losses = []
    for width in range(2, 8):
        ranges = prune_ranges(torch.zeros(1, 6, 9), py_grad, boundary, width)
        frame = torch.arange(8)[:, None]
        losses.append(
            pruned_transducer_loss(logits[:, frame, ranges[0]], symbols, ranges, boundary)
        )
    assert min(losses) == losses[-1] and losses[-1].isfinite()


def reference_begin(px: Tensor, py: Tensor, size: list[int], width: int, regular: bool) -> Tensor:
    """The rule of the prune ranges for one utterance, cell by cell."""
    rows, frames = py.shape
    begin = []
    for t in range(frames):
        score = [
            py[s : s + width, t].sum() - (px[s - 1, t] if s > 0 else 0.0)
            for s in range(rows - width + 1)
        ]
        last = t >= size[3] - 1
        begin.append(max(size[2] - width + 1, 0) if last else int(torch.stack(score).argmax()))
    step = width - 1 if regular else 1
    for t in range(frames - 2, -1, -1):
        begin[t] = min(begin[t], begin[t + 1])
    for t in range(frames - 2, -1, -1):  # go early enough to arrive in time
        begin[t] = max(begin[t], begin[t + 1] - step)
    return torch.tensor([min(s, step * t) for t, s in enumerate(begin)])  # all start at row 0


@pytest.mark.parametrize("regular", [True, False], ids=["regular", "modified"])
@pytest.mark.parametrize("width", [2, 3, 5])
def test_ranges_follow_the_rule(width: int, regular: bool) -> None:
    sizes = [(30, 12), (17, 9), (30, 2), (25, 0), (30, 10)]
    px = torch.rand(len(sizes), 12, 30 + regular, dtype=torch.float64)
    py = torch.rand(len(sizes), 13, 30, dtype=torch.float64)
    # A ridge that climbs with the frames, else all begins fall to what the last frames allow.
    height = torch.arange(30) * 12 // 30
    py += 3 * (-(torch.arange(13)[:, None] - height).abs() / 2.0).exp()
    boundary = torch.tensor([[0, 0, u, t] for t, u in sizes])
    ranges = prune_ranges(px, py, boundary, width)
    assert ranges.shape == (len(sizes), 30, width)
    assert torch.equal(ranges, ranges[..., :1] + torch.arange(width))
    for i, size in enumerate(boundary.tolist()):
        wanted = reference_begin(px[i], py[i], size, width, regular)
        assert torch.equal(ranges[i, :, 0], wanted)


@pytest.mark.parametrize("regular", [True, False], ids=["regular", "modified"])
def test_an_alignment_stays_inside_whatever_the_occupations(regular: bool) -> None:
    symbols, boundary = targets([(12, 9), (9, 9), (12, 1), (7, 0)])
    for _ in range(20):
        px, py = torch.rand(4, 9, 12 + regular), torch.rand(4, 10, 12)
        ranges = prune_ranges(px, py, boundary, 3)
        assert (ranges[:, 0, 0] == 0).all() and ranges.min() >= 0 and ranges.max() <= 9
        loss = pruned_transducer_loss(
            torch.randn(4, 12, 3, VOCAB),
            symbols,
            ranges,
            boundary,
            rnnt_type="regular" if regular else "modified",
        )
        assert loss.isfinite().all()


def test_all_rows_are_kept_when_the_range_is_larger() -> None:
    boundary = torch.tensor([[0, 0, 3, 4], [0, 0, 1, 2]])
    ranges = prune_ranges(torch.rand(2, 3, 5), torch.rand(2, 4, 4), boundary, 9)
    assert torch.equal(ranges, torch.arange(4).expand(2, 4, 4))


def test_prune_picks_the_rows_of_the_ranges() -> None:
    am, lm = torch.randn(2, 4, 3), torch.randn(2, 5, 3, requires_grad=True)
    ranges = band([[0, 1, 2, 3], [0, 0, 0, 2]], 2)
    am_pruned, lm_pruned = prune(am, lm, ranges)
    for b in range(2):
        for t in range(4):
            for s in range(2):
                assert torch.equal(am_pruned[b, t, s], am[b, t])
                assert torch.equal(lm_pruned[b, t, s], lm[b, ranges[b, t, s]])
    lm_pruned.sum().backward()
    counts = torch.stack([r.flatten().bincount(minlength=5) for r in ranges])
    assert torch.equal(lm.grad, counts.unsqueeze(2).expand(-1, -1, 3).float())


def test_half_precision_and_strided_logits_give_float32_losses() -> None:
    symbols, boundary = targets()
    ranges = torch.arange(TOKENS + 1).expand(4, FRAMES, TOKENS + 1)
    logits = torch.randn(4, FRAMES, TOKENS + 1, VOCAB).bfloat16()
    wanted = pruned_transducer_loss(logits.float(), symbols, ranges, boundary)
    strided = logits.transpose(1, 3).contiguous().transpose(1, 3).requires_grad_()
    found = pruned_transducer_loss(strided, symbols, ranges, boundary)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted)
    found.sum().backward()
    assert strided.grad.dtype == torch.bfloat16


def test_impossible_logits_are_infinite_losses_not_nan() -> None:
    symbols, boundary = targets([(5, 3), (5, 3), (5, 3)])
    ranges = torch.arange(4).expand(3, 5, 4)
    logits = torch.randn(3, 5, 4, VOCAB)
    logits[0, 2] = -torch.inf  # a frame in which nothing can happen
    logits[1, :, :, symbols[1, 0]] = -torch.inf  # a token that cannot be emitted
    logits[2, 4, 0] = -torch.inf  # one cell: there are ways around it
    logits.requires_grad_()
    loss = pruned_transducer_loss(logits, symbols, ranges, boundary)
    assert loss[:2].tolist() == [torch.inf, torch.inf] and loss[2].isfinite()
    loss.sum().backward()
    assert logits.grad.isfinite().all() and logits.grad[0].abs().max() == 0


def test_nan_is_not_hidden() -> None:
    symbols, boundary = targets([(5, 3)])
    logits = torch.randn(1, 5, 4, VOCAB)
    logits[0, 2, 1, 3] = torch.nan
    assert pruned_transducer_loss(
        logits, symbols, torch.arange(4).expand(1, 5, 4), boundary
    ).isnan()


def test_empty_batch_and_no_tokens() -> None:
    none = torch.zeros(0, 4).long()
    ranges = prune_ranges(torch.zeros(0, 2, 5), torch.zeros(0, 3, 4), none, 2)
    logits = torch.randn(0, 4, 2, VOCAB, requires_grad=True)
    loss = pruned_transducer_loss(logits, torch.zeros(0, 2).long(), ranges, none)
    loss.sum().backward()
    assert loss.shape == (0,)

    boundary = torch.tensor([[0, 0, 0, 4]])
    ranges = prune_ranges(torch.zeros(1, 0, 5), torch.ones(1, 1, 4), boundary, 5)
    logits = torch.randn(1, 4, 1, VOCAB)
    loss = pruned_transducer_loss(logits, torch.zeros(1, 0).long(), ranges, boundary)
    torch.testing.assert_close(loss, -logits.log_softmax(-1)[..., 0].sum(dim=(1, 2)))


def test_wrong_arguments_are_named() -> None:
    boundary, symbols = torch.tensor([[0, 0, 2, 4]]), torch.ones(1, 2).long()
    ranges, logits = torch.arange(3).expand(1, 4, 3), torch.zeros(1, 4, 3, VOCAB)
    with pytest.raises(ValueError, match=r"logits .*ranges .*\(1, 4, 3, 5\) and \(1, 4, 2\)"):
        pruned_transducer_loss(logits, symbols, ranges[..., :2], boundary)
    with pytest.raises(ValueError, match="symbols"):
        pruned_transducer_loss(logits, symbols[0], ranges, boundary)
    with pytest.raises(ValueError, match="boundary"):
        pruned_transducer_loss(logits, symbols, ranges, boundary[:, :3])
    with pytest.raises(ValueError, match=r"px_grad .*\(1, 2, 6\)"):
        prune_ranges(torch.zeros(1, 2, 6), torch.zeros(1, 3, 4), boundary, 2)
    with pytest.raises(ValueError, match="boundary"):
        prune_ranges(torch.zeros(1, 2, 5), torch.zeros(1, 3, 4), boundary[:, :3], 2)
    with pytest.raises(ValueError, match="prune_range"):
        prune_ranges(torch.zeros(1, 2, 5), torch.zeros(1, 3, 4), boundary, 1)
    with pytest.raises(ValueError, match=r"ranges .*\(1, 3, 3\)"):
        prune(torch.zeros(1, 4, 2), torch.zeros(1, 3, 2), ranges[:, :3])
