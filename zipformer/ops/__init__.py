"""Operations with more than one implementation; the only place that knows about backends.

Every operation has a plain PyTorch reference. ``fused``, the default, is faster: on a CPU by other
PyTorch code, on CUDA by Triton kernels where they work, which ``probe`` finds out. The environment
variable ``ZIPFORMER_OPS`` chooses ``reference``, ``fused`` or ``triton`` (kernels or an error), and
so does, for a block of code::

    with ops.use("reference"):
        ...
"""

from __future__ import annotations

from torch import Tensor

from zipformer.ops import band as _band
from zipformer.ops import depthwise as _depthwise
from zipformer.ops import depthwise2d as _depthwise2d
from zipformer.ops import joiner as _joiner
from zipformer.ops import moments as _moments
from zipformer.ops import norm as _norm
from zipformer.ops import recursion as _recursion
from zipformer.ops import smoothed as _smoothed
from zipformer.ops import swoosh as _swoosh
from zipformer.ops.choice import BACKENDS, backend, choose, probe, use

__all__ = [
    "BACKENDS",
    "arcs",
    "backend",
    "balance",
    "band_lattice",
    "bias_norm",
    "channel_moments",
    "choose",
    "depthwise_conv",
    "depthwise_conv2d",
    "join",
    "lattice",
    "probe",
    "smoothed_arcs",
    "swoosh_l",
    "swoosh_r",
    "unjoin",
    "use",
]


def swoosh_l(x: Tensor) -> Tensor:
    """SwooshL, elementwise; the activation of feed-forward modules."""
    shift, offset = _swoosh.LEFT
    return _swoosh_with(x, shift, offset)


def swoosh_r(x: Tensor) -> Tensor:
    """SwooshR, elementwise; the activation of convolution modules."""
    shift, offset = _swoosh.RIGHT
    return _swoosh_with(x, shift, offset)


def bias_norm(x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
    """BiasNorm, x / rms(x - bias) * exp(log_scale).

    Args:
        x: (..., C).
        bias: (C,).
        log_scale: Scalar.
    """
    run = choose(x, _norm.bias_norm, kernel="bias_norm")
    return run(x, bias, log_scale)


def channel_moments(x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and mean square of each channel.

    Args:
        x: (M, C).
        valid: (M,) bool, positions to look at; None for all.

    Returns:
        Twice (C,), in float32.
    """
    return choose(x, _moments.channel_moments, kernel="channel_moments")(x, valid)


def balance(grad: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """grad + |grad| (a + b x).

    Args:
        grad: (..., C).
        x: (..., C).
        a: (C,).
        b: (C,).
    """
    return choose(x, _moments.balance, kernel="balance")(grad, x, a, b)


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Depthwise convolution over frames, channels last.

    Args:
        x: (N, T, D).
        weight: (D, 1, k).
        bias: (D,) or None.
        padding: Frames of zeros on either side.

    Returns:
        (N, T + 2 padding - k + 1, D).
    """
    run = choose(x, _depthwise.depthwise_reference, _depthwise.depthwise_fused)
    return run(x, weight, bias, padding)


def depthwise_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """Depthwise convolution of images, padded along frequency and not along time.

    Args:
        x: (N, C, H, W), best in channels-last memory.
        weight: (C, 1, k, k), k odd.

    Returns:
        (N, C, H - k + 1, W).
    """
    run = choose(x, _depthwise2d.depthwise2d_reference, _depthwise2d.depthwise2d_fused)
    return run(x, weight)


def smoothed_arcs(
    am: Tensor, lm: Tensor, symbols: Tensor, lm_scale: float, am_scale: float, blank: int
) -> tuple[Tensor, Tensor]:
    """Arc log-probabilities of the simple transducer lattice.

    Args:
        am: (B, T, V), encoder scores.
        lm: (B, U + 1, V), predictor scores.
        symbols: (B, U) int64.
        lm_scale: Weight of the predictor alone.
        am_scale: Weight of the encoder alone.
        blank: Id of the blank.

    Returns:
        Tokens (B, T, U) and blanks (B, T, U + 1).
    """
    run = choose(am, _smoothed.smoothed_reference, _smoothed.smoothed_fused)
    return run(am, lm, symbols, lm_scale, am_scale, blank)


def lattice(
    px: Tensor, py: Tensor, boundary: Tensor, regular: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability of all alignments of a lattice, and how likely each arc is.

    Not differentiable: the probabilities are the gradient.

    Args:
        px: (B, T, U), log-probabilities of tokens.
        py: (B, T, U + 1), log-probabilities of blanks.
        boundary: (B, 4) int64 rows (0, 0, U, T); arcs beyond them may hold anything.
        regular: Whether tokens stay in their frame.

    Returns:
        (B,), and probabilities shaped like ``px`` and ``py``.
    """
    run = choose(px, _recursion.lattice, kernel="lattice")
    return run(px, py, boundary, regular)


def band_lattice(
    token: Tensor, blank: Tensor, begin: Tensor, boundary: Tensor, regular: bool, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The same for alignments inside a band of the lattice.

    Args:
        token: (B, T, S), log-probabilities of the next token.
        blank: (B, T, S).
        begin: (B, T), first row kept in each frame, as from ``prune_ranges``.
        boundary: (B, 4) int64 rows (0, 0, U, T); arcs beyond them may hold anything.
        regular: Whether tokens stay in their frame.
        rows: U + 1.

    Returns:
        (B,), and probabilities (B, T, S) twice.
    """
    run = choose(token, _band.band_lattice, kernel="band_lattice")
    return run(token, blank, begin, boundary, regular, rows)


def join(am: Tensor, lm: Tensor, kept: Tensor) -> Tensor:
    """tanh(am + lm) in the cells that are kept, without autograd.

    Args:
        am: (B, T, D).
        lm: (B, U + 1, D).
        kept: (B, T, S) row numbers, consecutive along S.

    Returns:
        (B T S, D).
    """
    return choose(am, _joiner.join, kernel="join")(am, lm, kept)


def unjoin(grad: Tensor, hidden: Tensor, kept: Tensor, lm_grad: Tensor) -> Tensor:
    """Gradients by the inputs of ``join``.

    Args:
        grad: (B T S, D), by its output.
        hidden: (B T S, D), its output.
        kept: (B, T, S).
        lm_grad: (B, U + 1, D); the gradient by ``lm`` is added to it.

    Returns:
        (B, T, D), the gradient by ``am``, in the type of ``lm_grad``.
    """
    run = choose(hidden, _joiner.unjoin, kernel="unjoin")
    return run(grad, hidden, kept, lm_grad)


def arcs(logits: Tensor, next_token: Tensor, blank: int) -> _joiner.Arcs:
    """Log-probabilities of the next token and of the blank in each cell, without autograd.

    Args:
        logits: (N, V); they may be overwritten.
        next_token: (N,) int64.
        blank: Id of the blank.

    Returns:
        An object with ``token`` and ``blank`` (N,), and ``gradient(token_grad, blank_grad)``, which
        gives the gradient by the logits.
    """
    return choose(logits, _joiner.Arcs, kernel="Arcs")(logits, next_token, blank)


def _swoosh_with(x: Tensor, shift: float, offset: float) -> Tensor:
    run = choose(x, _swoosh.swoosh_reference, _swoosh.swoosh_fused, kernel="swoosh")
    return run(x, shift, offset)
