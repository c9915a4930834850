"""Small interventions in the backward pass; forwards they are identities."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from zipformer.ops.autograd import FunctionCtx


def chance(prob: float) -> bool:
    """True with the given probability, from torch's default CPU generator."""
    return prob > 0.0 and torch.rand(()).item() < prob


class _RangeCtx(FunctionCtx, Protocol):
    low: float
    high: float


class _LimitGradientSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _RangeCtx, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.view_as(x)

    @staticmethod
    def backward(ctx: _RangeCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        outward = ((grad > 0) & (x < ctx.low)) | ((grad < 0) & (x > ctx.high))
        return torch.where(outward, -grad, grad), None, None


def limit_value(x: Tensor, low: float, high: float, training: bool, prob: float = 0.6) -> Tensor:
    """A parameter whose gradient may not push it further out of [low, high].

    The value itself is not clamped. With probability ``prob`` in training, the gradient of an
    element outside the range that points outwards changes its sign.
    """
    if training and chance(prob):
        return _LimitGradientSign.apply(x, low, high)
    return x


class _PenaltyCtx(FunctionCtx, Protocol):
    penalty: float


class _PenalizeLarge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _PenaltyCtx, x: Tensor, limit: float, penalty: float) -> Tensor:
        ctx.save_for_backward((x.abs() > limit) * x.sign().to(torch.int8))
        ctx.penalty = penalty
        return x.view_as(x)

    @staticmethod
    def backward(ctx: _PenaltyCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        (sign,) = ctx.saved_tensors
        return grad + ctx.penalty * sign.to(grad.dtype), None, None


def penalize_large(x: Tensor, limit: float, penalty: float) -> Tensor:
    """Returns ``x``, and adds ``penalty * (|x| - limit)`` of each larger element to the loss."""
    return _PenalizeLarge.apply(x, limit, penalty)


class _ScaleCtx(FunctionCtx, Protocol):
    scale: float


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _ScaleCtx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: _ScaleCtx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.scale, None


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Returns ``x``; its gradient is multiplied by ``scale``."""
    return _ScaleGradient.apply(x, scale)
