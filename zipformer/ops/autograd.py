"""What autograd hands from the forward pass of a function to its backward pass."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class FunctionCtx(Protocol):
    """The ``ctx`` of a ``torch.autograd.Function``, as far as this package uses it.

    Torch's own class declares only half of it. A function that keeps more than tensors declares
    that in a class of its own.
    """

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None: ...  # noqa: D102

    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...  # noqa: D102
