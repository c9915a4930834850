"""ScaledAdam: Adam whose steps are relative to the size of each parameter tensor.

Besides the direction it learns the size of every tensor, and it clips by the median of recent
gradient norms (Zipformer, arXiv 2310.11230, section 3.5 and appendix).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from zipformer import waits

BLOCK = 500_000  # elements that are updated together on a CPU
FIRST_THRESHOLDS = (10, 20, 40)  # steps of the first estimates, before a whole period is over


ParamGroup = dict[str, Any]  # as torch has it: ``params``, and the settings and state of the group
ParamState = dict[str, Tensor]  # of one parameter; see ``_initial_state``


@dataclass(frozen=True)
class ClipInfo:
    """What the last step did about large gradients.

    Args:
        norm: Norm of the gradients, each tensor weighted with its size.
        threshold: Norm above which gradients are scaled down; infinite while unknown.
        factor: What the gradients were multiplied with; 0 if they were not finite.
    """

    norm: float = 0.0
    threshold: float = math.inf
    factor: float = 1.0


class ScaledAdam(Optimizer):
    """The optimizer of Zipformer.

    Tensors of one element are scalars, which get plain Adam at ``scalar_lr_scale`` of the rate. A
    parameter without gradient counts as one with a gradient of zero.

    Args:
        params: Parameters, (name, parameter) pairs, or groups with ``params`` of either kind. A
            group may have its own ``lr``, or an ``lr_scale`` on the common one.
        lr: Relative change per step, about.
        clipping_scale: Threshold in multiples of the median norm; None for no clipping.
        betas: Decay of momentum and of squared gradients.
        scalar_lr_scale: Factor on ``lr`` for scalars, and for the sizes of tensors.
        eps: Added to denominators.
        param_min_rms, param_max_rms: Limits within which sizes are learned.
        scalar_max: Limit of scalars.
        size_update_period: Steps between updates of a tensor's size.
        clipping_update_period: Steps between updates of the clipping threshold.
        learn_scale: Whether sizes are learned; steps are relative to them either way.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.03,
        clipping_scale: float | None = None,
        betas: tuple[float, float] = (0.9, 0.98),
        scalar_lr_scale: float = 0.1,
        eps: float = 1e-8,
        param_min_rms: float = 1e-5,
        param_max_rms: float = 3.0,
        scalar_max: float = 10.0,
        size_update_period: int = 4,
        clipping_update_period: int = 100,
        learn_scale: bool = True,
    ) -> None:
        if lr < 0 or (clipping_scale is not None and clipping_scale <= 0):
            raise ValueError(
                f"ScaledAdam needs lr >= 0 and clipping_scale > 0, got {lr}, {clipping_scale}"
            )
        defaults = {
            "lr": lr,
            "clipping_scale": clipping_scale,
            "betas": betas,
            "scalar_lr_scale": scalar_lr_scale,
            "eps": eps,
            "param_min_rms": param_min_rms,
            "param_max_rms": param_max_rms,
            "scalar_max": scalar_max,
            "size_update_period": size_update_period,
            "clipping_update_period": clipping_update_period,
            "learn_scale": learn_scale,
        }
        self.last_clip = ClipInfo()
        super().__init__(_as_groups(list(params), lr), defaults)
        for group in self.param_groups:
            group.setdefault("step", 0)
            group.setdefault("norms", [])  # of the last period, oldest first
            group.setdefault("threshold", None)

    def __setstate__(self, state: ParamGroup) -> None:
        """Takes a state over, but for settings that a resumed run may change."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("learn_scale", "clipping_scale"):
                group[name] = self.defaults[name]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Updates every parameter once.

        Args:
            closure: Computes the loss and the gradients anew, as in every torch optimizer.

        Raises:
            RuntimeError: If most of the recent gradients were not finite.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.requires_grad]
            if all(p.grad is None for p in params):
                continue
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
            for p in params:
                if not self.state[p]:
                    self.state[p].update(_initial_state(p, group["size_update_period"]))
            factor = self._clip(group, params, grads)
            for block in _blocks(params):
                block_grads = [grads[i] for i in block]
                if factor == 0.0:
                    block_grads = [torch.zeros_like(g) for g in block_grads]  # no infinities
                elif factor != 1.0:
                    block_grads = list(torch._foreach_mul(block_grads, factor))
                one_element = params[block[0]].numel() == 1
                update = self._update_scalars if one_element else self._update_tensors
                update(group, [params[i] for i in block], block_grads)
            group["step"] += 1
        return loss

    def _clip(self, group: ParamGroup, params: list[Tensor], grads: list[Tensor]) -> float:
        """The factor on the gradients of a group; it costs the step's one host synchronisation."""
        step, period = group["step"], group["clipping_update_period"]
        if group["clipping_scale"] is None:
            return 1.0
        of_scalars = grads[0].new_full((), group["scalar_lr_scale"])
        sizes = [of_scalars if p.numel() == 1 else self.state[p]["param_rms"] for p in params]
        norms = torch.stack(torch._foreach_norm(grads)) * torch.stack(sizes)
        with waits.expected():
            norm = norms.norm().item()
        if step > 0:  # the gradients of fresh weights say little about those to come
            group["norms"] = [*group["norms"], norm][-period:]
            if step % period == 0 or step in FIRST_THRESHOLDS:
                group["threshold"] = self._new_threshold(group)
        threshold = math.inf if group["threshold"] is None else group["threshold"]
        # Also while there is no threshold, one bad batch must not spoil the weights.
        factor = min(1.0, threshold / (norm + 1e-20)) if math.isfinite(norm) else 0.0
        self.last_clip = ClipInfo(norm, threshold, factor)
        return factor

    @staticmethod
    def _new_threshold(group: ParamGroup) -> float:
        norms = sorted(group["norms"], key=lambda x: math.inf if math.isnan(x) else x)
        median = norms[min(len(norms) - 1, len(norms) // 4 * 2)]
        if not math.isfinite(median):
            raise RuntimeError(
                "most of the recent gradients were not finite: lower optim.base_lr, use "
                "train.precision = 'bf16' or 'fp32', and look for cuts with bad audio or "
                "transcripts"
            )
        # The first estimates come from few norms, at a time when norms change fast.
        caution = 2.0 if group["step"] in FIRST_THRESHOLDS else 1.0
        return group["clipping_scale"] * median * caution

    def _update_tensors(self, group: ParamGroup, params: list[Tensor], grads: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        step, period = group["step"], group["size_update_period"]
        states = [self.state[p] for p in params]
        deltas = [s["delta"] for s in states]
        squares = [s["exp_avg_sq"] for s in states]

        torch._foreach_mul_(deltas, beta1)
        if group["learn_scale"]:
            for state, product in zip(states, torch._foreach_mul(params, grads), strict=True):
                state["scale_grads"][step % period] = product.sum()
        if step % period == period - 1:
            rms = torch.stack([_rms(p) for p in params])
            if group["learn_scale"]:
                self._update_sizes(group, params, states, rms)
            torch._foreach_copy_([s["param_rms"] for s in states], rms.unbind())
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1.0 - beta2)
        updates = _normalized(grads, squares, beta2, step, group["eps"])
        rms = torch.stack([s["param_rms"] for s in states]).clamp(min=group["param_min_rms"])
        alphas = (-group["lr"] * (1.0 - beta1) * rms).unbind()
        torch._foreach_mul_(updates, alphas)
        torch._foreach_add_(deltas, updates)
        torch._foreach_add_(params, deltas)

    @staticmethod
    def _update_sizes(
        group: ParamGroup, params: list[Tensor], states: Sequence[ParamState], rms: Tensor
    ) -> None:
        """Lets each tensor shrink or grow as a whole, by Adam on the logarithm of its size."""
        beta1, beta2 = group["betas"]
        period = group["size_update_period"]
        beta2 = beta2**period
        scale_grads = torch.stack([s["scale_grads"] for s in states], dim=1)  # (period, params)
        squares = torch.stack([s["scale_exp_avg_sq"] for s in states])
        squares = beta2 * squares + (1.0 - beta2) * scale_grads.square().mean(dim=0)
        correction = 1.0 - beta2 ** ((group["step"] + 1) // period)
        rate = group["lr"] * group["scalar_lr_scale"] * correction**0.5
        change = -rate * scale_grads.sum(dim=0) / (squares.sqrt() + group["eps"])
        change = change.masked_fill(rms < group["param_min_rms"], 0.0).clamp(-0.1, 0.1)
        change = torch.minimum(change, (group["param_max_rms"] - rms) / rms)
        torch._foreach_copy_([s["scale_exp_avg_sq"] for s in states], squares.unbind())
        steps = torch._foreach_mul(params, change.unbind())
        torch._foreach_add_([s["delta"] for s in states], steps, alpha=1.0 - beta1)

    def _update_scalars(self, group: ParamGroup, params: list[Tensor], grads: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        rate = group["lr"] * group["scalar_lr_scale"]
        deltas = [self.state[p]["delta"] for p in params]
        squares = [self.state[p]["exp_avg_sq"] for p in params]
        torch._foreach_mul_(deltas, beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1.0 - beta2)
        updates = _normalized(grads, squares, beta2, group["step"], group["eps"])
        torch._foreach_add_(deltas, updates, alpha=-rate * (1.0 - beta1))
        torch._foreach_add_(params, deltas)
        torch._foreach_clamp_max_(params, group["scalar_max"])
        torch._foreach_clamp_min_(params, -group["scalar_max"])


def _as_groups(params: list[Any], lr: float) -> list[ParamGroup]:
    """Any accepted form of parameters as groups of plain ones, with their names kept beside."""
    groups = params if params and isinstance(params[0], dict) else [{"params": params}]
    plain = []
    for given in groups:
        group: ParamGroup = dict(given)
        members = list(group.pop("named_params", group.get("params", [])))
        if members and isinstance(members[0], tuple):
            group["names"] = [name for name, _ in members]
            members = [p for _, p in members]
        group["params"] = members
        if "lr_scale" in group:
            group["lr"] = float(group.get("lr", lr)) * float(group["lr_scale"])
        plain.append(group)
    return plain


def _blocks(params: Sequence[Tensor]) -> list[list[int]]:
    """Which parameters to update together: scalars apart, the others on a CPU by the million.

    An update passes over its tensors a dozen times. A block stays in the cache meanwhile; all of a
    large model would come from memory each time. A GPU would rather have few and large calls.
    """
    scalars = [i for i, p in enumerate(params) if p.numel() == 1]
    blocks, size = [scalars] if scalars else [], BLOCK
    for i, p in enumerate(params):
        if p.numel() == 1:
            continue
        if size >= BLOCK:
            blocks.append([])
            size = 0
        blocks[-1].append(i)
        size += p.numel() if p.device.type == "cpu" else 0
    return blocks


def _normalized(
    grads: list[Tensor], squares: list[Tensor], beta2: float, step: int, eps: float
) -> list[Tensor]:
    """Gradients over the root of their mean squares, with the bias correction while it matters."""
    correction = 1.0 - beta2 ** (step + 1)
    roots = list(torch._foreach_div(squares, correction if correction < 0.99 else 1.0))
    torch._foreach_sqrt_(roots)
    torch._foreach_add_(roots, eps)
    return list(torch._foreach_div(grads, roots))


def _initial_state(p: Tensor, period: int) -> ParamState:
    state = {"delta": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    if p.numel() > 1:
        state["param_rms"] = _rms(p)
        state["scale_exp_avg_sq"] = p.new_zeros(())
        state["scale_grads"] = p.new_zeros(period)
    return state


def _rms(p: Tensor) -> Tensor:
    return p.square().mean().sqrt()
