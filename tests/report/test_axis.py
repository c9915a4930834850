"""Axes hold all values, and a few round ones are written beside them."""

from __future__ import annotations

import pytest

from zipformer.report.axis import (
    MOST_TICKS,
    Axis,
    linear_ticks,
    log_ticks,
    named_axis,
    short,
    value_axis,
)


def test_ticks_are_round_and_inside() -> None:
    assert linear_ticks(0, 23.1) == [0, 5, 10, 15, 20]
    assert linear_ticks(2.1, 2.6) == pytest.approx([2.1, 2.2, 2.3, 2.4, 2.5, 2.6])


@pytest.mark.parametrize("low,high", [(0.02, 0.9), (0.1, 20.0), (1e-6, 1e6), (0.011, 0.019)])
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= MOST_TICKS and all(low <= t <= high for t in ticks)


def test_equal_ratios_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    axis = Axis("", 100.0, 10000.0, [], log=True)
    assert axis.share(1000.0) == pytest.approx(0.5)
    assert {1000.0, 2000.0} <= set(log_ticks(axis.low, axis.high))


@pytest.mark.parametrize("log", [False, True], ids=["linear", "logarithmic"])
def test_a_value_stands_where_its_share_says(log: bool) -> None:
    axis = Axis("", 2.0, 50.0, [], log=log)
    assert [axis.share(axis.value(share)) for share in (0, 0.3, 1, 1.1)] == pytest.approx(
        [0, 0.3, 1, 1.1]
    )
    assert (axis.value(0), axis.value(1)) == pytest.approx((2.0, 50.0))


@pytest.mark.parametrize(
    "values",
    [[0.0], [3.0], [-1.0, -1.0], [1e-9, 1e9], [0.0, 1e6], [5.0, 5.1], [-2.0, 7.0]],
    ids=str,
)
def test_few_or_strange_values_have_room_and_ticks(values: list[float]) -> None:
    for log_from in (8.0, float("inf")):
        axis = value_axis("loss", values, log_from)
        assert all(0 <= axis.share(value) < 1 for value in values)
        assert axis.ticks and all(-1e-9 <= axis.share(value) <= 1 + 1e-9 for value, _ in axis.ticks)


def test_an_axis_begins_at_zero_where_that_costs_no_more_than_half() -> None:
    assert value_axis("", [4.0, 10.0]).low == 0
    assert value_axis("", [6.0, 10.0]).low > 5
    assert value_axis("", [4.0, 10.0], from_zero=False).low > 3


def test_a_wide_range_is_logarithmic_only_if_asked_for_and_above_zero() -> None:
    assert value_axis("loss", [0.1, 10.0], log_from=8.0).title == "loss (logarithmic)"
    assert value_axis("loss", [0.1, 10.0]).title == "loss"
    assert not value_axis("loss", [0.0, 10.0], log_from=8.0).log
    assert not value_axis("loss", [2.0, 10.0], log_from=8.0).log


@pytest.mark.parametrize("log", [False, True], ids=["linear", "logarithmic"])
def test_a_place_of_its_own_stands_after_the_scale(log: bool) -> None:
    axis = Axis("ms", 100.0, 1000.0, [(500.0, "500")], log=log)
    longer, place = axis.with_place("full")
    assert longer.ticks == [(500.0, "500"), (place, "full")]
    assert longer.break_at is not None and axis.high < longer.break_at < place < longer.high


def test_names_are_equally_far_apart() -> None:
    axis = named_axis(["a", "b", "c"])
    shares = [axis.share(value) for value, _ in axis.ticks]
    assert shares == pytest.approx([1 / 6, 3 / 6, 5 / 6])


@pytest.mark.parametrize(
    "value,text",
    [(0, "0"), (9999, "9999"), (12000, "12k"), (150000, "150k"), (2.5e6, "2.5M"), (3e9, "3G")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text
