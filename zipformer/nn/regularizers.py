"""Balancer and Whiten: identities that act only in the backward pass.

They leave the forward pass alone and add a small gradient that keeps activations in a healthy
range (arXiv 2310.11230, section 3.5 and appendix). Both act in training only, and neither
looks at padding: statistics run over valid frames.

Letters: C channels, N frames of all utterances, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from zipformer import ops, waits
from zipformer.nn.gradients import chance
from zipformer.nn.schedule import ScheduledFloat, scheduled

_TINY = 1e-20
_MEAN_ABS_TO_RMS = math.sqrt(math.pi / 2)  # of a Gaussian


class Balancer(nn.Module):
    """Keeps each channel's share of positive values and its size within limits.

    The limits are given as shares and mean absolute values, and enforced as limits on mean/stddev
    and rms, as if the channel were Gaussian. The added gradient is normalised per channel to an
    rms of ``grad_scale`` and multiplied by the size of the incoming gradient, so that it does
    not depend on the scale of the loss.

    Args:
        min_positive, max_positive: Limits of the share of positive values, 0 to 1.
        min_abs, max_abs: Limits of the mean absolute value.
        grad_scale: Strength relative to the incoming gradient.
        prob: How often it acts; by default a schedule from 0.5 down to 0.125.
        channel_dim: The axis of the channels.
    """

    def __init__(
        self,
        min_positive: float | ScheduledFloat = 0.05,
        max_positive: float | ScheduledFloat = 0.95,
        min_abs: float | ScheduledFloat = 0.2,
        max_abs: float | ScheduledFloat = 100.0,
        grad_scale: float = 0.04,
        prob: float | ScheduledFloat | None = None,
        channel_dim: int = -1,
    ) -> None:
        super().__init__()
        self.min_positive = scheduled(min_positive)
        self.max_positive = scheduled(max_positive)
        self.min_abs = scheduled(min_abs)
        self.max_abs = scheduled(max_abs)
        self.prob = scheduled(
            ScheduledFloat((0.0, 0.5), (8000.0, 0.125), default=0.4) if prob is None else prob
        )
        self.grad_scale = grad_scale
        self.channel_dim = channel_dim
        self.pushes: Tensor | None = None  # (C,) of the last time that it acted; 0 = none

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Returns ``x``.

        Args:
            x: Activations of any shape with the channels at ``channel_dim``.
            valid: Bool, True = valid, broadcastable to ``x`` with size 1 at the channels.
        """
        if not (self.training and x.requires_grad and chance(float(self.prob))):
            return x
        limits = (
            _mean_over_std(float(self.min_positive)),
            _mean_over_std(float(self.max_positive)),
            float(self.min_abs) * _MEAN_ABS_TO_RMS,
            float(self.max_abs) * _MEAN_ABS_TO_RMS,
        )
        return _BalancerFunction.apply(x, valid, limits, self)


def _mean_over_std(positive: float) -> float:
    """Mean over standard deviation of a Gaussian with this share of positive values, about."""
    y = 2.0 * positive - 1.0
    atanh = 0.5 * (math.log(1 + y + 1e-10) - math.log(1 - y + 1e-10))
    return atanh / (math.sqrt(math.pi) * math.log(2))


class _MaskedCtx(Protocol):
    """The ``ctx`` of a function that keeps values and, if there is padding, which are valid."""

    saved_tensors: tuple[Tensor, Tensor | None]

    def save_for_backward(self, x: Tensor, valid: Tensor | None, /) -> None: ...


class _BalancerCtx(_MaskedCtx, Protocol):
    limits: tuple[float, float, float, float]
    module: Balancer


class _BalancerFunction(torch.autograd.Function):
    """Adds the gradient of |m - clamp(m)| + |log(clamp(r) / r)|, m = mean/std and r = rms.

    Both terms are functions of a channel's first two moments, so their gradient at a value x is
    a + b x with a and b per channel, and no second pass over the data is needed to normalise it.
    """

    @staticmethod
    def forward(
        ctx: _BalancerCtx,
        x: Tensor,
        valid: Tensor | None,
        limits: tuple[float, float, float, float],
        module: Balancer,
    ) -> Tensor:
        ctx.save_for_backward(x, valid)
        ctx.limits, ctx.module = limits, module
        return x.view_as(x)

    @staticmethod
    def backward(ctx: _BalancerCtx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        x, valid = ctx.saved_tensors
        min_mean, max_mean, min_rms, max_rms = ctx.limits
        module = ctx.module
        grad_scale, channel_dim = module.grad_scale, module.channel_dim
        x, grad = x.movedim(channel_dim, -1), grad.movedim(channel_dim, -1)
        if valid is not None:
            valid = valid.movedim(channel_dim, -1).expand(*x.shape[:-1], 1).flatten()
        moments = ops.channel_moments(x.reshape(-1, x.shape[-1]), valid)
        mean, square = (t.double() for t in moments)  # (C,) each
        # A channel that is constant has no more than rounding errors for a variance.
        variance = (square - mean * mean).clamp(min=_TINY).maximum(1e-7 * square)
        std, rms = variance.sqrt(), square.clamp(min=_TINY).sqrt()
        m = mean / std
        m_sign = (m - m.clamp(min_mean, max_mean)).sign()
        r_sign = (rms - rms.clamp(min_rms, max_rms)).sign()
        # d m / d x = 1 / std - (m / variance) (x - mean) and d log(rms) / d x = x / rms^2, both
        # without the factor 1 / N that the normalisation cancels: a + b (x - mean).
        a = m_sign / std + r_sign * mean / rms.square()
        b = r_sign / rms.square() - m_sign * m / variance
        module.pushes = size = (a * a + b * b * variance).sqrt().clamp(min=_TINY)
        a, b = (a - b * mean) * grad_scale / size, b * grad_scale / size
        return ops.balance(grad, x, a, b).movedim(-1, channel_dim), None, None, None


class Whiten(nn.Module):
    """Pushes the covariance of the channels towards a multiple of the identity.

    The metric is mean(diag(S S)) / mean(diag(S))^2 of the centred covariance S, at least 1, and 1
    exactly when all eigenvalues are equal. Where it exceeds ``limit``, its gradient is added,
    scaled to ``grad_scale`` times the norm of the incoming one.

    Args:
        groups: G, the channels are split into groups that are whitened apart.
        limit: The largest metric that is left alone.
        prob: How often the metric is looked at: (while it is below the limit, while above).
        grad_scale: Size of the added gradient relative to the incoming one.
    """

    def __init__(
        self,
        groups: int,
        limit: float | ScheduledFloat,
        prob: tuple[float, float] = (0.025, 0.25),
        grad_scale: float = 0.01,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.limit = scheduled(limit)
        self.min_prob, self.max_prob = prob
        self.prob = self.max_prob
        self.grad_scale = grad_scale
        self.acted: Tensor | None = None  # whether it acted, if it has looked since it was asked

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Returns ``x``, (..., C); ``valid`` as in ``Balancer``."""
        if not (self.training and x.requires_grad and chance(self.prob)):
            return x
        return _WhitenFunction.apply(x, valid, self)


class NoRegularizer(nn.Module):
    """In place of a ``Balancer`` or a ``Whiten``: gradients stay as they are."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Returns ``x``."""
        return x


def leave_out(model: nn.Module, *kinds: type[Balancer] | type[Whiten]) -> None:
    """Takes every module of the given kinds out of ``model``; its weights stay the same."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, kinds):
                setattr(module, name, NoRegularizer())


def whiteners(model: nn.Module) -> dict[str, Whiten]:
    """Every Whiten inside ``model`` by its name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, Whiten)}


def settle_whitening(modules: Iterable[Whiten]) -> None:
    """Lets each module look less often while it finds nothing to do.

    To be called after a backward pass: all are asked at once, so that a GPU is waited for once.
    """
    looked = {m: m.acted for m in modules if m.acted is not None}
    if not looked:
        return
    acted_together = torch.stack(list(looked.values()))
    with waits.expected():
        answers = acted_together.tolist()
    for module, acted in zip(looked, answers, strict=True):
        module.prob = module.max_prob if acted else module.min_prob
        module.acted = None


def regularizer_activity(model: nn.Module) -> dict[str, float]:
    """How much the regularizers inside ``model`` had to do when they last looked.

    Returns:
        ``balancer``, the share of channels that were pushed, and ``whiten``, the share of the
        modules that acted or have not looked yet.
    """
    pushes = [m.pushes for m in model.modules() if isinstance(m, Balancer) and m.pushes is not None]
    whitens = whiteners(model).values()
    activity = {}
    if pushes:
        activity["balancer"] = (torch.cat(pushes) > _TINY).double().mean().item()
    if whitens:
        acted = sum(m.prob == m.max_prob for m in whitens)
        activity["whiten"] = acted / len(whitens)
    return activity


class _WhitenCtx(_MaskedCtx, Protocol):
    module: Whiten


class _WhitenFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _WhitenCtx, x: Tensor, valid: Tensor | None, module: Whiten) -> Tensor:
        ctx.save_for_backward(x, valid)
        ctx.module = module
        return x.view_as(x)

    @staticmethod
    def backward(ctx: _WhitenCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        x, valid = ctx.saved_tensors
        module = ctx.module
        metric, centred, slope = whitening_metric(x, valid, module.groups)
        module.acted = metric > float(module.limit)
        penalty = torch.bmm(centred, slope).transpose(0, 1).reshape(x.shape)
        scale = module.grad_scale * grad.float().norm() / (penalty.norm() + _TINY)
        penalty = torch.where(module.acted, penalty * scale, 0.0)
        return grad + penalty.to(grad.dtype), None, None


def whitening_metric(x: Tensor, valid: Tensor | None, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """How far the covariance is from white, and what its gradient is made of.

    Args:
        x: (..., C).
        valid: Bool, broadcastable to (..., 1), or None.
        groups: G.

    Returns:
        The metric; the centred channels (G, N, C/G) with invalid frames zero; and the slope
        (G, C/G, C/G), such that centred @ slope is the gradient of the metric up to a factor.
    """
    channels = x.shape[-1]
    frames = x.float().reshape(-1, channels)
    if valid is None:
        frames = frames - frames.mean(0)
    else:
        weight = valid.expand(*x.shape[:-1], 1).reshape(-1, 1).float()
        mean = (weight.t() @ frames) / weight.sum().clamp(min=1.0)
        frames = (frames - mean) * weight
    centred = frames.view(-1, groups, channels // groups).transpose(0, 1)  # (G, N, C/G)
    covariance = torch.bmm(centred.transpose(1, 2), centred)  # (G, C/G, C/G)
    mean_diag = covariance.diagonal(dim1=1, dim2=2).mean()
    mean_square = covariance.square().sum() / channels
    metric = mean_square / (mean_diag.square() + _TINY)
    identity = torch.eye(channels // groups, device=x.device)
    slope = covariance - (mean_square / (mean_diag + _TINY)) * identity
    return metric, centred, slope
