"""What torch and triton are told, so that they take a device that computes nothing for a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from unittest.mock import patch

import torch
import torch.amp.grad_scaler
import torch.cuda.amp.common
import torch.utils._foreach_utils
import torch.utils._pytree as pytree
from torch import Tensor
from torch._subclasses import fake_tensor
from triton.runtime.jit import JITFunction

from zipformer.ops import choice
from zipformer.ops.first_launch import Finding

CUDA = torch.device("cuda", 0)
_MOST_BLOCKS = 2**31 - 1, 65535, 65535  # of a launch, by axis (CUDA programming guide, table 21)

Launched = Callable[[str, list[Tensor]], None]  # name of a kernel, and its tensors


@contextmanager
def pretended(launched: Launched) -> Iterator[None]:
    """Inside, fake tensors may live on ``CUDA``; Triton kernels are reported and not run.

    ``torch.cuda.is_available`` stays false, since it would make torch start a device.
    """

    def launch(kernel: JITFunction, *args: object, grid: object, **options: object) -> None:
        tensors = [x for x in pytree.tree_leaves(args) if isinstance(x, Tensor)]
        name = kernel.fn.__name__
        _check_launch(name, tensors, grid(options) if callable(grid) else grid)
        launched(name, tensors)

    supported = [*torch.utils._foreach_utils._foreach_supported_types, fake_tensor.FakeTensor]
    with ExitStack() as stack:
        for where, name, stand_in in (
            (torch.cuda, "is_bf16_supported", lambda *_, **__: True),
            (torch.cuda, "current_device", lambda: 0),
            (torch.cuda, "device_of", lambda _: nullcontext()),
            (torch.cuda, "manual_seed_all", lambda _: None),
            (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
            (torch.amp.grad_scaler, "amp_definitely_not_available", lambda: False),
            (torch.utils._foreach_utils, "_foreach_supported_types", supported),
            (fake_tensor, "init_gpu_context", lambda *_: None),
            (choice, "examine", lambda _: Finding()),  # the kernels work
            (JITFunction, "run", launch),
        ):
            if hasattr(where, name):  # not every version of torch has all of them
                stack.enter_context(patch.object(where, name, stand_in))
        yield


def _check_launch(name: str, tensors: list[Tensor], grid: object) -> None:
    elsewhere = {str(x.device) for x in tensors if x.device != CUDA}
    if elsewhere:
        raise RuntimeError(f"kernel {name}: a pointer is on {', '.join(sorted(elsewhere))}")
    assert isinstance(grid, tuple)
    for blocks, most in zip(grid, _MOST_BLOCKS, strict=False):
        if blocks > most:
            raise RuntimeError(f"kernel {name}: a grid of {grid} is too large")
