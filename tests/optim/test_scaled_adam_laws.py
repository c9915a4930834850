"""ScaledAdam against a loop over single tensors, and what it promises as a torch optimizer."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from tolerances import LOSS
from torch import Tensor

from zipformer.optim import ScaledAdam

SHAPES = [(3, 4), (3, 4), (5,), (1,), (), (2, 1, 3), (12,), (1, 1), (4, 3)]


class OneByOne:
    """The definition, tensor by tensor in float64: what ScaledAdam must be equal to."""

    def __init__(
        self, params: Sequence[Tensor], clipping_scale: float | None, learn_scale: bool = True
    ) -> None:
        self.params = [p.detach().clone().double() for p in params]
        self.square = [torch.zeros_like(p) for p in self.params]
        self.delta = [torch.zeros_like(p) for p in self.params]
        self.rms = [p.square().mean().sqrt() for p in self.params]
        self.size_square = [0.0 for _ in self.params]
        self.size_grads: list[list[float]] = [[] for _ in self.params]
        self.norms: list[float] = []
        self.threshold = math.inf
        self.clipping_scale, self.learn_scale = clipping_scale, learn_scale
        self.t = 0

    def step(self, grads: Sequence[Tensor | None], lr: float) -> None:
        given = [
            torch.zeros_like(p) if g is None else g.double()
            for p, g in zip(self.params, grads, strict=True)
        ]
        factor = self.clip(given)
        for i, g in enumerate(given):
            self.step_one(i, g * factor, lr)
        self.t += 1

    def clip(self, grads: list[Tensor]) -> float:
        if self.clipping_scale is None or self.t == 0:
            return 1.0
        weights = [
            0.1 if g.numel() == 1 else float(r) for g, r in zip(grads, self.rms, strict=True)
        ]
        norm = math.sqrt(
            sum(float(g.square().sum()) * w * w for g, w in zip(grads, weights, strict=True))
        )
        self.norms = [*self.norms, norm][-100:]
        if self.t in (10, 20, 40) or self.t % 100 == 0:
            median = sorted(self.norms)[len(self.norms) // 4 * 2]
            self.threshold = self.clipping_scale * median * (2 if self.t in (10, 20, 40) else 1)
        return min(1.0, self.threshold / (norm + 1e-20))

    def step_one(self, i: int, g: Tensor, lr: float) -> None:
        p, t = self.params[i], self.t
        growth = 0.0
        if p.numel() > 1:
            self.size_grads[i].append(float((p * g).sum()))
            if t % 4 == 3:
                self.rms[i] = p.square().mean().sqrt()
                growth = self.growth(i, lr) if self.learn_scale else 0.0
        self.square[i] = 0.98 * self.square[i] + 0.02 * g * g
        correction = 1 - 0.98 ** (t + 1)
        second = self.square[i] / correction if correction < 0.99 else self.square[i]
        change = -lr * g / (second.sqrt() + 1e-8)
        change *= 0.1 if p.numel() == 1 else max(float(self.rms[i]), 1e-5)
        self.delta[i] = 0.9 * self.delta[i] + 0.1 * (change + p * growth)
        self.params[i] = p + self.delta[i]

    def growth(self, i: int, lr: float) -> float:
        grads, rms, beta = self.size_grads[i][-4:], float(self.rms[i]), 0.98**4
        mean_square = sum(g * g for g in grads) / 4
        self.size_square[i] = beta * self.size_square[i] + (1 - beta) * mean_square
        correction = 1 - beta ** ((self.t + 1) / 4)
        step = -lr * 0.1 * math.sqrt(correction) * sum(grads)
        step /= math.sqrt(self.size_square[i]) + 1e-8
        if rms < 1e-5:
            return 0.0
        return min(max(-0.1, min(step, 0.1)), (3.0 - rms) / rms)


def make_params(
    shapes: Sequence[tuple[int, ...]] = SHAPES, size: float = 0.5
) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.randn(shape) * size) for shape in shapes]


def random_grads(params: Sequence[Tensor]) -> list[Tensor]:
    return [torch.randn_like(p) for p in params]


def give(params: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
    for p, g in zip(params, grads, strict=True):
        p.grad = None if g is None else g.clone()


def relative_error(params: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    errors = []
    for p, e in zip(params, expected, strict=True):
        scale = e.abs().max().clamp(min=1e-2 if e.numel() == 1 else 0.0)  # scalars may cross zero
        errors.append(float((p.detach() - e).abs().max() / scale))
    return max(errors)


@pytest.mark.parametrize("size", [0.5, 4.0, 1e-6], ids=["usual", "too large", "too small"])
@pytest.mark.parametrize("learn_scale", [True, False], ids=["learned", "not learned"])
@pytest.mark.parametrize("clipping_scale", [2.0, 0.7, None])
def test_equals_the_definition_tensor_by_tensor(
    clipping_scale: float | None, learn_scale: bool, size: float
) -> None:
    params = make_params(size=size)
    reference = OneByOne(params, clipping_scale, learn_scale)
    optimizer = ScaledAdam(params, lr=0.05, clipping_scale=clipping_scale, learn_scale=learn_scale)
    for step in range(125):
        grads: list[Tensor | None] = [
            g * (30 if step in (17, 60) else 1) for g in random_grads(params)
        ]
        if step % 3 == 1:
            grads[0] = grads[3] = None
        lr = 0.05 / (1 + step / 20)
        optimizer.param_groups[0]["lr"] = lr
        give(params, grads)
        optimizer.step()
        reference.step(grads, lr)
        assert relative_error(params, reference.params) <= 10 * LOSS, f"step {step}"


def test_equals_the_definition_where_the_size_changes_as_fast_as_it_may() -> None:
    params = make_params([(3, 4), (5,)])
    reference = OneByOne(params, None)
    optimizer = ScaledAdam(params, lr=0.8, clipping_scale=None)
    for step in range(12):
        grads = [(-1) ** (step // 8) * p.detach() for p in params]  # grow, then shrink
        give(params, grads)
        optimizer.step()
        reference.step(grads, 0.8)
    assert relative_error(params, reference.params) <= 10 * LOSS


def test_groups_clip_and_learn_as_if_each_had_its_own_optimizer() -> None:
    first, second = make_params(SHAPES[:4]), make_params(SHAPES[4:])
    references = [OneByOne(first, 2.0), OneByOne(second, 2.0)]
    groups = [{"params": first}, {"params": second, "lr": 0.01}]
    optimizer = ScaledAdam(groups, lr=0.05, clipping_scale=2.0)
    for step in range(45):
        for params, reference, lr in ((first, references[0], 0.05), (second, references[1], 0.01)):
            grads = random_grads(params)
            if step == 30 and params is first:
                grads = [100 * g for g in grads]
            give(params, grads)
            reference.step(grads, lr)
        optimizer.step()
    assert relative_error(first, references[0].params) <= 10 * LOSS
    assert relative_error(second, references[1].params) <= 10 * LOSS


@pytest.mark.parametrize(
    "form",
    [
        lambda named: [p for _, p in named],
        lambda named: named,
        lambda named: iter(named),
        lambda named: [{"params": named}],
        lambda named: [{"params": [p for _, p in named]}],
        lambda named: [{"named_params": named}],
    ],
    ids=["plain", "named", "generator", "group of named", "group", "named_params"],
)
def test_every_form_of_parameters_gives_the_same(form: Callable[[list], object]) -> None:
    start, grads = make_params(), random_grads(make_params())
    results = []
    for make in (lambda named: [p for _, p in named], form):
        params = [torch.nn.Parameter(p.detach().clone()) for p in start]
        optimizer = ScaledAdam(
            make([(f"p{i}", p) for i, p in enumerate(params)]), lr=0.05, clipping_scale=2.0
        )
        for _ in range(9):
            give(params, grads)
            optimizer.step()
        results.append(params)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_lr_scale_multiplies_the_common_rate() -> None:
    a, b = make_params([(3, 4), (3, 4)])
    groups = [{"params": [a]}, {"params": [b], "lr_scale": 0.5}]
    optimizer = ScaledAdam(groups, lr=0.04, clipping_scale=2.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.04, 0.02]


def test_state_goes_through_a_file_bit_for_bit() -> None:
    params = make_params()
    optimizer = ScaledAdam(params, lr=0.05, clipping_scale=2.0)
    grads = [random_grads(params) for _ in range(60)]
    for g in grads[:43]:  # past the first thresholds, in the middle of a period of sizes
        give(params, g)
        optimizer.step()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = [torch.nn.Parameter(p.detach().clone()) for p in params]
    other = ScaledAdam(resumed, lr=0.7, clipping_scale=2.0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for g in grads[43:]:
        for who, opt in ((params, optimizer), (resumed, other)):
            give(who, [100 * x for x in g] if g is grads[50] else g)
            opt.step()
        assert optimizer.last_clip == other.last_clip
        assert all(torch.equal(a, b) for a, b in zip(params, resumed, strict=True))


def test_a_restart_may_learn_sizes_or_not_whatever_was_so_before() -> None:
    """The setting is the config's; a state without it is from before there was one."""
    start, grads = make_params([(3, 4), (5,)]), [random_grads(make_params([(3, 4), (5,)]))] * 8
    ends = []
    for stored, wanted in ((True, False), (False, True), (None, True), (False, False)):
        params = [torch.nn.Parameter(p.detach().clone()) for p in start]
        first = ScaledAdam(params, lr=0.05)
        optimizer = ScaledAdam(params, lr=0.05, learn_scale=wanted)
        state = first.state_dict()
        for group in state["param_groups"]:
            group["learn_scale"] = stored
            if stored is None:
                del group["learn_scale"]
        optimizer.load_state_dict(state)
        for g in grads:
            give(params, g)
            optimizer.step()
        ends.append(torch.cat([p.detach().flatten() for p in params]))
    assert torch.equal(ends[0], ends[3]) and torch.equal(ends[1], ends[2])
    assert not torch.equal(ends[0], ends[1])


def test_loading_a_state_leaves_the_source_as_it_is() -> None:
    params = make_params()
    optimizer = ScaledAdam(params, lr=0.05, clipping_scale=2.0)
    give(params, random_grads(params))
    optimizer.step()
    stored = copy.deepcopy(optimizer.state_dict())
    before = copy.deepcopy(stored["state"][0]["exp_avg_sq"])
    other = ScaledAdam(make_params(), lr=0.05, clipping_scale=2.0)
    other.load_state_dict(copy.deepcopy(stored))
    give(other.param_groups[0]["params"], random_grads(params))
    other.step()
    assert torch.equal(stored["state"][0]["exp_avg_sq"], before)


def test_state_belongs_to_its_own_parameter() -> None:
    params = make_params()
    optimizer = ScaledAdam(params, lr=0.05, clipping_scale=2.0)
    give(params, random_grads(params))
    optimizer.step()
    for p in params:
        assert optimizer.state[p]["exp_avg_sq"].shape == p.shape
        assert torch.allclose(optimizer.state[p]["exp_avg_sq"], 0.02 * p.grad.square())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("step", [0, 5, 30], ids=["first", "no threshold", "threshold"])
def test_gradients_that_are_not_finite_count_as_zero(bad: float, step: int) -> None:
    params = make_params()
    optimizer = ScaledAdam(params, lr=0.05, clipping_scale=2.0)
    for _ in range(step):
        give(params, random_grads(params))
        optimizer.step()
    twin_params, twin = copy.deepcopy((params, optimizer))
    assert twin.param_groups[0]["params"][0] is twin_params[0]
    grads = random_grads(params)
    grads[0][1, 2] = bad
    give(params, grads)
    optimizer.step()
    give(twin_params, [torch.zeros_like(p) for p in params])
    twin.step()
    assert optimizer.last_clip.factor == 0.0
    assert all(torch.equal(a, b) for a, b in zip(params, twin_params, strict=True))


def test_a_run_of_gradients_that_are_not_finite_is_an_error_with_advice() -> None:
    params = make_params()
    optimizer = ScaledAdam(params, lr=0.05, clipping_scale=2.0)
    before = [p.detach().clone() for p in params]
    give(params, [torch.full_like(p, math.nan) for p in params])
    with pytest.raises(RuntimeError, match="not finite.*base_lr"):
        for _ in range(11):
            optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))


def test_clipping_is_reported_with_norm_threshold_and_factor() -> None:
    params = make_params([(3, 4)])
    optimizer = ScaledAdam(params, lr=0.0, clipping_scale=2.0)
    grad = torch.randn(3, 4)
    rms = float(params[0].detach().square().mean().sqrt())
    for scale in (*[1.0] * 12, 40.0):
        give(params, [scale * grad])
        optimizer.step()
    norm = float(grad.norm()) * rms
    assert optimizer.last_clip.norm == pytest.approx(40 * norm)
    assert optimizer.last_clip.threshold == pytest.approx(4 * norm)  # an early one: twice as wide
    assert optimizer.last_clip.factor == pytest.approx(0.1)


def test_the_scale_of_the_loss_does_not_matter() -> None:
    start = make_params()
    grads = [random_grads(start) for _ in range(30)]
    results = []
    for scale in (1.0, 1000.0):
        params = [torch.nn.Parameter(p.detach().clone()) for p in start]
        optimizer = ScaledAdam(params, lr=0.05, clipping_scale=2.0)
        for g in grads:
            give(params, [scale * x for x in g])
            optimizer.step()
        results.append([p.detach() for p in params])
    assert relative_error(*results) <= 1e-4


def test_scalars_stay_within_their_limit() -> None:
    scalar = torch.nn.Parameter(torch.tensor([9.9]))
    optimizer = ScaledAdam([scalar], lr=1.0, clipping_scale=2.0)
    for _ in range(30):
        give([scalar], [-torch.ones(1)])
        optimizer.step()
        assert float(scalar.detach()) <= 10.0
    assert float(scalar.detach()) == 10.0


def test_closure_is_run_with_gradients_and_its_loss_returned() -> None:
    (p,) = make_params([(3, 4)])
    optimizer = ScaledAdam([p], lr=0.05, clipping_scale=2.0)
    before = p.detach().clone()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure)) == pytest.approx(float(before.square().sum()))
    assert not torch.equal(p, before)


def test_given_gradients_are_left_as_they_are() -> None:
    params = make_params()
    optimizer = ScaledAdam(params, lr=0.05, clipping_scale=0.01)
    for _ in range(15):  # clipping is at work
        grads = random_grads(params)
        give(params, grads)
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(params, grads, strict=True))


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"clipping_scale": 0.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ScaledAdam(make_params(), **settings)


def test_what_a_resumed_run_may_change_is_not_taken_from_its_checkpoint() -> None:
    weights = [torch.nn.Parameter(torch.ones(3, 4))]
    before = ScaledAdam(weights, lr=0.01, clipping_scale=2.0)
    weights[0].grad = torch.ones(3, 4)
    before.step()
    after = ScaledAdam(weights, lr=0.01, clipping_scale=3.0, learn_scale=False)
    after.load_state_dict(before.state_dict())
    (group,) = after.param_groups
    assert (group["clipping_scale"], group["learn_scale"], group["step"]) == (3.0, False, 1)
