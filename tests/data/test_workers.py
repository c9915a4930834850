"""Worker processes change nothing about results and errors, and pickle what they pass on once."""

from __future__ import annotations

import multiprocessing
import pickle
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized

import pytest
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from zipformer.data.workers import Parcel, answers, items

ERRORS = [
    ValueError("cut a: no token can write 'Q'"),
    FileNotFoundError("cuts.jsonl.gz not found"),
    FileNotFoundError(2, "No such file or directory", "cuts.jsonl.gz"),
    MemoryError("too large"),
]


class Squares(Dataset[int]):
    def __getitem__(self, number: int) -> int:
        return number * number


class Refusing(Dataset[int]):
    """Answers with an error from the third request on."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, number: int) -> int:
        if number > 1:
            raise self.error
        return number


class Counting(IterableDataset[int]):
    """Numbers, and how many have been computed; an error after the last of them."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count = count
        self.error = error
        self.computed: Synchronized[int] = multiprocessing.Value("i", 0)

    def __iter__(self) -> Iterator[int]:
        for number in range(self.count):
            self.computed.value += 1
            yield number
        if self.error is not None:
            raise self.error


class Where(IterableDataset[bool]):
    def __iter__(self) -> Iterator[bool]:
        yield get_worker_info() is not None


class CountedPickling:
    """Counts in its own state how often it was pickled."""

    def __init__(self, times: int = 0) -> None:
        self.times = times

    def __getstate__(self) -> int:
        return self.times + 1

    def __setstate__(self, times: int) -> None:
        self.times = times


def parcels(count: int) -> Iterator[Parcel[int]]:
    return (Parcel(number) for number in range(count))


@pytest.mark.parametrize("stations", [0, 1, 3])
def test_a_parcel_is_pickled_once_however_often_it_is_passed_on(stations: int) -> None:
    parcel = Parcel(CountedPickling())
    for _ in range(stations):
        parcel = pickle.loads(pickle.dumps(parcel))
    assert parcel.open().times == min(stations, 1)


def test_a_parcel_that_nobody_sends_holds_the_very_thing() -> None:
    content = [1]
    assert Parcel(content).open() is content


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_answers_come_in_the_order_of_the_requests(num_workers: int) -> None:
    assert list(answers(Squares(), parcels(20), num_workers)) == [n * n for n in range(20)]


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_items_come_in_their_order(ahead: int) -> None:
    assert list(items(Counting(20), ahead)) == list(range(20))


def test_items_ahead_are_another_process_s_work() -> None:
    assert list(items(Where(), ahead=0)) == [False]
    assert list(items(Where(), ahead=2)) == [True]


def test_no_more_items_are_computed_than_asked_for() -> None:
    numbers = Counting(100)
    results = items(numbers, ahead=3)
    taken = [next(results), next(results)]
    while numbers.computed.value < len(taken) + 3:
        time.sleep(0.01)
    time.sleep(0.2)  # for what would come too much
    assert numbers.computed.value == len(taken) + 3
    alone = Counting(100)
    next(items(alone, ahead=0))
    assert alone.computed.value == 1


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_answer_s_error_keeps_type_and_message(error: Exception, num_workers: int) -> None:
    results = answers(Refusing(error), parcels(9), num_workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(type(error)) as raised:
        next(results)
    assert str(raised.value) == str(error)
    assert type(raised.value) is type(error)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_request_that_is_an_error_is_raised_in_its_turn(num_workers: int) -> None:
    requests: list[Parcel[int | Exception]] = [Parcel(2), Parcel(3), Parcel(ValueError("a cut"))]
    results = answers(Squares(), requests, num_workers)
    assert [next(results), next(results)] == [4, 9]
    with pytest.raises(ValueError, match="^a cut$"):
        next(results)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("ahead", [0, 2])
def test_an_item_s_error_is_the_last_item_with_type_and_message(
    error: Exception, ahead: int
) -> None:
    *numbers, last = items(Counting(5, error), ahead)
    assert numbers == list(range(5))
    assert (type(last), str(last)) == (type(error), str(error))


def test_the_place_in_the_worker_is_told_with_the_error() -> None:
    error = list(items(Counting(0, ValueError("a cut")), ahead=1))[0]
    assert isinstance(error, ValueError)
    (note,) = error.__notes__
    assert "test_workers.py" in note
    assert "raise self.error" in note
