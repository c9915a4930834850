"""Work done by processes of their own: the same results and the same errors as done here."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)

# Errors that a user can mend. They leave a worker as they are, with their type and one line of
# message; all others are bugs, and PyTorch puts the worker's traceback into their message.
MENDABLE = (ValueError, OSError, MemoryError)


class Parcel(Generic[T_co]):
    """A value on its way through several processes, pickled once and unpickled once.

    Processes between sender and receiver pass bytes on. Within one process nothing is pickled.

    Args:
        content: What is sent.
    """

    def __init__(self, content: T_co) -> None:
        self._content = [content]
        self._packed = b""

    def open(self) -> T_co:
        """What was sent."""
        content: list[T_co] = pickle.loads(self._packed) if self._packed else self._content
        return content[0]

    def __getstate__(self) -> bytes:
        return self._packed or pickle.dumps(self._content)

    def __setstate__(self, packed: bytes) -> None:
        self._packed = packed


def answers(
    dataset: Dataset[T],
    requests: Iterable[Parcel[R | Exception]],
    num_workers: int,
    pin: bool = False,
) -> Iterator[T]:
    """What ``dataset`` has at every request, in the order of the requests.

    Args:
        dataset: Is indexed with requests, by several workers side by side.
        requests: Asked for by this process, some ahead of the answers. One that is an error is
            raised when its turn comes.
        num_workers: Processes; with 0 this one does the work, an answer at a time.
        pin: The answers' ``pin_memory`` is called, in a thread; without effect where there is no
            GPU.
    """
    results = iter(
        DataLoader(
            _Answers(dataset),
            sampler=requests,
            batch_size=None,  # a request already is a batch
            num_workers=num_workers,
            collate_fn=_as_it_is,
            pin_memory=pin,
            generator=torch.Generator(),  # else it takes its seeds from the global generator
        )
    )
    try:
        for answer in results:
            if isinstance(answer, Exception):
                raise answer
            yield answer
    finally:
        # An error's traceback would keep the workers, and those that the requests come from.
        del results, requests


def items(dataset: IterableDataset[T], ahead: int) -> Iterator[T | Exception]:
    """What ``dataset`` yields, computed by one process, which begins when this is called.

    Args:
        dataset: Is iterated over once.
        ahead: Items that wait at most until they are asked for; with 0 this process computes them,
            one at a time.

    Returns:
        The items. An error that a user can mend is not raised, but comes as the last of them.
    """
    return iter(
        DataLoader(
            _Items(dataset),
            batch_size=None,
            num_workers=1 if ahead else 0,
            prefetch_factor=ahead or None,
            collate_fn=_as_it_is,
            generator=torch.Generator(),
        )
    )


class _Answers(Dataset[T | Exception], Generic[T]):
    """Another dataset's answers to the contents of parcels, errors included."""

    def __init__(self, dataset: Dataset[T]) -> None:
        self.dataset = dataset

    def __getitem__(self, request: Parcel[R | Exception]) -> T | Exception:
        content = request.open()
        if isinstance(content, Exception):
            return content
        try:
            return self.dataset[content]
        except MENDABLE as error:
            return _to_send(error)


class _Items(IterableDataset[T | Exception], Generic[T]):
    """Another dataset's items; an error is the last of them."""

    def __init__(self, dataset: IterableDataset[T]) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[T | Exception]:
        try:
            yield from self.dataset
        except MENDABLE as error:
            yield _to_send(error)


def _to_send(error: Exception) -> Exception:
    """The error with a note of where it came from, which another process would not see."""
    if get_worker_info() is not None:
        error.add_note("".join(traceback.format_exception(error)))
    return error


def _as_it_is(item: T) -> T:
    return item
