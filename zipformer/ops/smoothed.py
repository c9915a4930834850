"""Arc log-probabilities of the simple transducer lattice (arXiv 2206.13236, sections 2 and 3).

Each is a weighted sum, with the weights ``lm_scale``, ``am_scale`` and what is left to one, of

    lm[r, v] - log sum_w exp(lm[r, w])                          the predictor alone
    am[t, v] + log p[v] - log sum_w p[w] exp(am[t, w])          the encoder alone
    am[t, v] + lm[r, v] - log sum_w exp(am[t, w] + lm[r, w])    both

with v the blank or the token of row r, and p the mean of softmax(lm). The vocabulary is an axis of
``am`` and ``lm`` alone: the last sum is a matrix product of their exponentials, and so are its
gradients.

Letters: B batch, U tokens, R = U + 1 rows, T frames, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zipformer.ops.autograd import FunctionCtx


def smoothed_reference(
    am: Tensor, lm: Tensor, symbols: Tensor, lm_scale: float, am_scale: float, blank: int
) -> tuple[Tensor, Tensor]:
    """Tokens (B, T, U) and blanks (B, T, R) from am (B, T, V), lm (B, R, V), symbols (B, U)."""
    tiny = torch.finfo(am.dtype).tiny
    am_exp, am_max = _exp_minus_max(am)  # (B, T, V), (B, T, 1)
    lm_exp, lm_max = _exp_minus_max(lm)  # (B, R, V), (B, R, 1)
    am_token = am.gather(2, symbols.unsqueeze(1).expand(-1, am.shape[1], -1))  # (B, T, U)
    lm_token = lm[:, :-1].gather(2, symbols.unsqueeze(2)).mT  # (B, 1, U)
    am_blank, lm_blank = am[..., blank, None], lm[:, None, :, blank]  # (B, T, 1), (B, 1, R)
    px = torch.zeros_like(am_token)
    py = am.new_zeros(*am.shape[:2], lm.shape[1])
    if (rest := 1.0 - lm_scale - am_scale) != 0.0:
        joint = (am_exp @ lm_exp.mT + tiny).log() + am_max + lm_max.mT  # (B, T, R)
        px = px + rest * (am_token + lm_token - joint[..., :-1])
        py = py + rest * (am_blank + lm_blank - joint)
    lm_sum = lm_exp.sum(dim=2, keepdim=True) + tiny  # (B, R, 1)
    if lm_scale != 0.0:
        lm_only = (lm_sum.log() + lm_max).mT  # (B, 1, R)
        px = px + lm_scale * (lm_token - lm_only[..., :-1])
        py = py + lm_scale * (lm_blank - lm_only)
    if am_scale != 0.0:
        prior = (lm_exp / lm_sum).mean(dim=(0, 1)) + tiny  # (V,)
        am_only = (am_exp @ prior + tiny).log().unsqueeze(2) + am_max  # (B, T, 1)
        log_prior = prior.log()
        px = px + am_scale * (am_token + log_prior[symbols].unsqueeze(1) - am_only)
        py = py + am_scale * (am_blank + log_prior[blank] - am_only)
    return px, py


def smoothed_fused(
    am: Tensor, lm: Tensor, symbols: Tensor, lm_scale: float, am_scale: float, blank: int
) -> tuple[Tensor, Tensor]:
    """The same, with a gradient that is written out where it is worth it."""
    if am_scale != 0.0 or lm_scale == 1.0:  # hardly ever used, and the gradient has many terms
        return smoothed_reference(am, lm, symbols, lm_scale, am_scale, blank)
    px, py = _SmoothedArcs.apply(am, lm, symbols, lm_scale, blank)
    return px, py


class _ArcsCtx(FunctionCtx, Protocol):
    lm_scale: float
    blank: int


class _SmoothedArcs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _ArcsCtx, am: Tensor, lm: Tensor, symbols: Tensor, lm_scale: float, blank: int
    ) -> tuple[Tensor, Tensor]:
        joint_scale = 1.0 - lm_scale
        am_exp, am_max = _exp_minus_max(am)  # (B, T, V), (B, T, 1)
        lm_exp, lm_max = _exp_minus_max(lm)  # (B, R, V), (B, R, 1)
        lm_sum = lm_exp.sum(dim=2, keepdim=True) + torch.finfo(am.dtype).tiny  # (B, R, 1)
        joint = torch.bmm(am_exp, lm_exp.mT).add_(torch.finfo(am.dtype).tiny)  # (B, T, R)

        arcs = joint.log().mul_(-joint_scale).sub_(joint_scale * am_max)
        by_row = -(lm_max + lm_scale * lm_sum.log()).mT  # (B, 1, R)
        lm_token = lm[:, :-1].gather(2, symbols.unsqueeze(2)).mT  # (B, 1, U)
        am_token = am.gather(2, symbols.unsqueeze(1).expand(-1, am.shape[1], -1))  # (B, T, U)
        px = am_token.mul_(joint_scale).add_(arcs[..., :-1]).add_(by_row[..., :-1] + lm_token)
        py = arcs.add_(joint_scale * am[..., blank, None]).add_(by_row + lm[:, None, :, blank])
        ctx.save_for_backward(am_exp, lm_exp, lm_sum, joint, symbols)
        ctx.lm_scale, ctx.blank = lm_scale, blank
        return px, py

    @staticmethod
    @once_differentiable
    def backward(ctx: _ArcsCtx, px_grad: Tensor, py_grad: Tensor) -> tuple[Tensor | None, ...]:
        am_exp, lm_exp, lm_sum, joint, symbols = ctx.saved_tensors
        lm_scale, blank = ctx.lm_scale, ctx.blank
        joint_scale = 1.0 - lm_scale
        both = py_grad.clone()
        both[..., :-1] += px_grad
        by_row = both.sum(dim=1)  # (B, R)
        both.div_(joint).mul_(-joint_scale)

        am_grad = torch.bmm(both, lm_exp).mul_(am_exp)  # (B, T, V)
        index = symbols.unsqueeze(1).expand(-1, am_exp.shape[1], -1)
        am_grad.scatter_add_(2, index, joint_scale * px_grad)
        am_grad[..., blank] += joint_scale * py_grad.sum(dim=2)

        lm_grad = torch.bmm(both.mT, am_exp)  # (B, R, V)
        lm_grad.sub_(lm_scale * by_row.unsqueeze(2) / lm_sum).mul_(lm_exp)
        lm_grad[:, :-1].scatter_add_(2, symbols.unsqueeze(2), px_grad.sum(dim=1).unsqueeze(2))
        lm_grad[..., blank] += py_grad.sum(dim=1)
        return am_grad, lm_grad, None, None, None


def _exp_minus_max(x: Tensor) -> tuple[Tensor, Tensor]:
    """exp(x - max) over the last axis of (B, N, V), and the maxima; 0 where all are -inf."""
    largest = x.detach().amax(dim=2, keepdim=True)
    largest = largest.masked_fill(largest == -torch.inf, 0.0)
    return (x - largest).exp(), largest
