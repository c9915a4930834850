"""Triton kernels of the operations that spend their time in memory, for CUDA.

Plain functions on tensors, without autograd. Importing this package needs triton; nothing else in
``zipformer`` does, and every kernel has a counterpart in PyTorch. Where the environment variable
``TRITON_INTERPRET`` is 1 before triton is imported, the same code runs on CPU tensors, slowly.
"""

from zipformer.ops.kernels.arcs import arc_gradient_, arc_log_probs
from zipformer.ops.kernels.balancer import balance, channel_moments
from zipformer.ops.kernels.bias_norm import bias_norm, bias_norm_backward
from zipformer.ops.kernels.joiner import join, unjoin
from zipformer.ops.kernels.lattice import MOST_ROWS, lattice
from zipformer.ops.kernels.swoosh import swoosh, swoosh_backward

__all__ = [
    "MOST_ROWS",
    "arc_gradient_",
    "arc_log_probs",
    "balance",
    "bias_norm",
    "bias_norm_backward",
    "channel_moments",
    "join",
    "lattice",
    "swoosh",
    "swoosh_backward",
    "unjoin",
]
