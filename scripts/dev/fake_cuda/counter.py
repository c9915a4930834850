"""Counts what a GPU would do: kernels, bytes, memory, and where the CPU waits for it."""

from __future__ import annotations

import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from zipformer import waits

T = TypeVar("T")

_PACKAGE = Path(waits.__file__).parent
_ALIGNMENT = 512  # bytes, of what torch's allocator hands out
_TENSORS_OF_A_KERNEL = 60  # about, of a ``_foreach`` function on lists of equal shapes

# They change how memory is looked at, or only reserve it.
_NO_KERNEL = set(
    "view _unsafe_view permute transpose t expand unsqueeze squeeze select slice detach alias "
    "as_strided unbind split split_with_sizes unfold diagonal movedim lift_fresh empty "
    "empty_strided empty_like new_empty new_empty_strided chunk resize_ _reshape_alias "
    "is_same_size _local_scalar_dense unflatten".split()
)
# Their results have a size that only the device knows.
_OF_UNKNOWN_SIZE = {"nonzero", "masked_select", "unique", "_unique2", "equal"}


class StepCounter(TorchDispatchMode):
    """Watches every operation on fake tensors.

    Attributes:
        phase: Name of what is going on; kernels and bytes are counted apart for each.
        kernels: Launches by phase and operation.
        bytes: Read and written, the same.
        waits: How often each line made the CPU wait; marked places (``zipformer.waits``) and
            others.
        now: Bytes in use on the device.
        peak: The most they were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.phase = "before"
        self.kernels: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[tuple[str, str]] = Counter()
        self.waits: Counter[str] = Counter()
        self.unexpected_waits: Counter[str] = Counter()
        self.now = self.peak = 0
        self._live: dict[int, int] = {}
        self._expected = 0

    def start(self) -> None:
        """Forgets what was counted; what is in memory stays there."""
        for counts in (self.kernels, self.bytes, self.waits, self.unexpected_waits):
            counts.clear()
        self.peak = self.now

    def launched(self, name: str, tensors: list[Tensor]) -> None:
        """Counts a Triton kernel."""
        self._count(f"triton:{name}", 1, tensors)

    def track(self, tensors: object) -> None:
        """Takes the memory of tensors into account until nobody holds it any more."""
        for x in pytree.tree_leaves(tensors):
            if not (isinstance(x, Tensor) and _is_on_cuda(x)):
                continue
            storage = x.untyped_storage()
            key = storage._cdata
            if key in self._live:
                continue
            size = -(-storage.nbytes() // _ALIGNMENT) * _ALIGNMENT
            self._live[key] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._free, key)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, every operation is counted, and ``waits.expected`` and ``tolist`` report here."""
        with (
            patch.object(waits, "expected", self._while_expected),
            patch.object(FakeTensor, "tolist", self._tolist(FakeTensor.tolist)),
            self,
        ):
            yield

    @contextmanager
    def _while_expected(self) -> Iterator[None]:
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1

    def _tolist(self, real: Callable[[FakeTensor], T]) -> Callable[[FakeTensor], T | list[float]]:
        def tolist(x: FakeTensor) -> T | list[float]:
            if x.device.type != "cuda":
                return real(x)
            self._wait("tolist")
            return [1.0] * x.numel()

        return tolist

    def _free(self, key: int) -> None:
        self.now -= self._live.pop(key, 0)

    def _wait(self, name: str) -> None:
        counts = self.waits if self._expected else self.unexpected_waits
        counts[f"{_line()} {name}"] += 1

    def _count(self, name: str, kernels: int, tensors: list[Tensor]) -> None:
        key = self.phase, name
        self.kernels[key] += kernels
        self.bytes[key] += sum(_bytes_by_view(tensors).values())

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        namespace, _, name = func._schema.name.partition("::")
        if namespace == "prim":  # asks for properties
            return func(*args, **kwargs)
        inputs = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        on_cuda = any(map(_is_on_cuda, inputs))
        if name in ("_local_scalar_dense", "is_nonzero"):
            if on_cuda:
                self._wait("item")
            return _some_number(inputs[0])
        if on_cuda and name in _OF_UNKNOWN_SIZE:
            self._wait(name)
        if name == "_ctc_loss":  # the lengths, which it copies to the device
            self._wait("ctc_loss")
        out = _without_shape_function(name, args)
        out = func(*args, **kwargs) if out is None else out
        self.track(out)
        outputs = [x for x in pytree.tree_leaves(out) if isinstance(x, Tensor)]
        if name in ("_to_copy", "copy_"):
            self._look_at_copy(name, args, kwargs, outputs[0])
        if name not in _NO_KERNEL and (on_cuda or any(map(_is_on_cuda, outputs))):
            self._count(name, _launches(name, args), inputs + outputs)
        return out

    def _look_at_copy(
        self, name: str, args: tuple[object, ...], kwargs: dict[str, object], out: Tensor
    ) -> None:
        """A copy between CPU and device waits, unless it is told not to and ends on the device."""
        source = args[0] if name == "_to_copy" else args[1]
        assert isinstance(source, Tensor)
        if source.device.type == out.device.type:
            return
        asynchronous = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
        if not asynchronous or out.device.type == "cpu":
            self._wait(f"copy {source.device.type} to {out.device.type}")


def _is_on_cuda(x: Tensor) -> bool:
    # To ask for ``device`` would be another operation to dispatch.
    return isinstance(x, FakeTensor) and x.fake_device.type == "cuda"


def _line() -> str:
    """The line of this package that is at work."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(_PACKAGE) and path.name != "waits.py":
            return f"{path.relative_to(_PACKAGE.parent)}:{frame.lineno}"
    return "autograd"


def _some_number(x: Tensor) -> float | int | bool:
    if x.dtype == torch.bool:
        return True
    return 1.0 if x.is_floating_point() else 1


def _without_shape_function(name: str, args: tuple[object, ...]) -> object:
    """Results of operations whose shapes torch does not know without computing them."""
    if name == "_ctc_loss":
        log_probs, targets, *_ = args
        assert isinstance(log_probs, Tensor) and isinstance(targets, Tensor)
        if log_probs.device != targets.device:
            raise RuntimeError(f"ctc_loss: targets are on {targets.device}")
        frames, batch, _ = log_probs.shape
        states = 2 * targets.shape[-1] + 1
        return log_probs.new_empty(batch), log_probs.new_empty(batch, frames, states)
    if name == "_ctc_loss_backward":
        log_probs = args[1]
        assert isinstance(log_probs, Tensor)
        return torch.empty_like(log_probs)
    if name in ("_use_cudnn_ctc_loss", "_use_miopen_ctc_loss"):
        return False  # for targets of 64 bits
    return None


def _launches(name: str, args: tuple[object, ...]) -> int:
    """Kernels of an operation: one, or as many as the lists of a ``_foreach`` function need."""
    if not name.startswith("_foreach"):
        return 1
    lists = [x for x in args if isinstance(x, list | tuple)]
    alike = all(
        isinstance(x, Tensor) and isinstance(y, Tensor) and x.shape == y.shape
        for others in lists
        for x, y in zip(others, lists[0], strict=False)
    )
    count = len(lists[0])
    return -(-count // _TENSORS_OF_A_KERNEL) if alike else count  # else one after another


def _bytes_by_view(tensors: list[Tensor]) -> dict[tuple[int, int, int], int]:
    """Bytes of each tensor, once for the same view; an expanded axis is read once."""
    found = {}
    for x in tensors:
        elements = 1
        for size, stride in zip(x.shape, x.stride(), strict=True):
            elements *= size if stride or size == 0 else 1
        key = x.untyped_storage()._cdata, int(x.storage_offset()), x.numel()
        found[key] = elements * x.element_size()
    return found
