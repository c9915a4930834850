"""The operations of this package by Triton kernels; what autograd needs around them.

Importing this module needs triton. Arguments are those of the functions in ``zipformer.ops``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from triton.runtime import JITFunction

from zipformer.ops import kernels, recursion
from zipformer.ops.autograd import FunctionCtx
from zipformer.ops.kernels.swoosh import _swoosh_kernel
from zipformer.ops.swoosh import SLOPE, SwooshCtx

INTERPRETED = not isinstance(_swoosh_kernel, JITFunction)  # then they run on CPU tensors as well


class _Swoosh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: SwooshCtx, x: Tensor, shift: float, offset: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.shift = shift
        return kernels.swoosh(x, shift, offset, SLOPE)

    @staticmethod
    @once_differentiable
    def backward(ctx: SwooshCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return kernels.swoosh_backward(x, grad, ctx.shift, SLOPE), None, None


def swoosh(x: Tensor, shift: float, offset: float) -> Tensor:
    """SwooshL or SwooshR."""
    y: Tensor = _Swoosh.apply(x, shift, offset)
    return y


class _BiasNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
        y, inverse_rms = kernels.bias_norm(x, bias, log_scale)
        ctx.save_for_backward(x, bias, log_scale, inverse_rms)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return kernels.bias_norm_backward(grad, *ctx.saved_tensors)


def bias_norm(x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
    """BiasNorm."""
    y: Tensor = _BiasNorm.apply(x, bias, log_scale)
    return y


def lattice(
    px: Tensor, py: Tensor, boundary: Tensor, regular: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Forward-backward, one program for each utterance."""
    if py.shape[2] > kernels.MOST_ROWS:
        return recursion.lattice(px, py, boundary, regular)
    total, px_occupied, py_occupied = kernels.lattice(px.mT, py.mT, boundary, regular)
    return total, px_occupied.mT, py_occupied.mT


def band_lattice(
    token: Tensor, blank: Tensor, begin: Tensor, boundary: Tensor, regular: bool, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with the band written into a whole lattice; that has no vocabulary and is small."""
    kept = begin.unsqueeze(2) + torch.arange(token.shape[2], device=token.device)
    outside = token.new_full((*token.shape[:2], rows), -torch.inf)
    px, py = outside.scatter(2, kept, token)[..., :-1], outside.scatter(2, kept, blank)
    total, px_occupied, py_occupied = lattice(px, py, boundary, regular)
    return total, F.pad(px_occupied, (0, 1)).gather(2, kept), py_occupied.gather(2, kept)


def join(am: Tensor, lm: Tensor, kept: Tensor) -> Tensor:
    """tanh of the sums."""
    return kernels.join(am, lm, kept[..., 0], kept.shape[2]).flatten(0, 2)


def unjoin(grad: Tensor, hidden: Tensor, kept: Tensor, lm_grad: Tensor) -> Tensor:
    """Gradients by its inputs."""
    shape = *kept.shape, hidden.shape[1]
    return kernels.unjoin(grad.view(shape), hidden.view(shape), kept[..., 0], lm_grad)


class Arcs:
    """Log-softmax at the next token and at the blank, and its gradient, which takes the logits."""

    def __init__(self, logits: Tensor, next_token: Tensor, blank: int) -> None:
        self._logits, self._next_token, self._blank = logits, next_token, blank
        self.token, self.blank, self._normalizer = kernels.arc_log_probs(logits, next_token, blank)

    def gradient(self, token_grad: Tensor, blank_grad: Tensor) -> Tensor:
        """The gradient by the logits (N, V) from those by the arcs (N,); once only."""
        kernels.arc_gradient_(
            self._logits, self._normalizer, self._next_token, self._blank, token_grad, blank_grad
        )
        return self._logits


channel_moments = kernels.channel_moments
balance = kernels.balance
