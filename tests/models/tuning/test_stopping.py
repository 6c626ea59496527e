"""The limits of the median rule and of successive halving."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tidegate.models.tuning.stopping import Curve, halving_limits, medians, rungs

NAN = math.nan


def test_medians_are_of_the_best_so_far() -> None:
    assert medians([[3.0, 1.0, 2.0], [2.0, 2.5], [4.0, 4.0]], warmup=1) == [None, 2.0, 1.0]
    assert medians([[0.5, 0.9], [NAN, 0.7]], warmup=0, higher=True)[1] == pytest.approx(0.8)
    assert medians([], warmup=3) == []


def test_rungs_grow_by_the_factor_and_end_before_the_last_epoch() -> None:
    assert rungs(1, 3, 27) == [1, 3, 9]
    assert rungs(1, 3, 28) == [1, 3, 9, 27]
    assert rungs(2, 4, 12) == [2, 8]
    assert rungs(5, 2, 5) == []


def test_the_best_part_goes_on() -> None:
    """With a factor of 3, of the trial and 5 earlier ones the best two go on: the second best of the 5 is the limit."""
    earlier = [Curve([value, value / 2]) for value in (5.0, 1.0, 4.0, 2.0, 3.0)]
    assert halving_limits(earlier, [1], 3) == [2.0]
    assert halving_limits(earlier, [1], 3, higher=True) == [4.0]
    assert halving_limits(earlier, [1, 2], 3) == [2.0, 1.0]
    assert halving_limits(earlier[:4], [1], 3) == [1.0]  # five: one third is one


def test_the_first_trial_has_no_limit_and_the_next_ones_the_best() -> None:
    assert halving_limits([], [1, 3], 3) == [None, None, None]
    assert halving_limits([Curve([3.0, 2.0, 1.0])], [1, 3], 3) == [3.0, None, 1.0]


def test_who_was_stopped_counts_at_the_rungs_that_it_reached() -> None:
    stopped = Curve([1.0], stopped=True)
    assert halving_limits([stopped], [1, 3], 3) == [1.0, None, None]
    ended = Curve([2.0, 0.5])  # early stopping: what it had is what it will ever have
    assert halving_limits([stopped, ended], [1, 3], 3) == [1.0, None, 0.5]


def test_the_best_value_so_far_counts_and_none_where_there_is_none() -> None:
    assert halving_limits([Curve([1.0, 9.0, 9.0])], [3], 2) == [None, None, 1.0]
    assert halving_limits([Curve([NAN, 9.0])], [1, 2], 2) == [math.inf, 9.0]
    assert halving_limits([Curve([])], [1], 2) == [None]


values = some.floats(0, 1).map(lambda value: round(value, 2))
curves = some.lists(some.builds(Curve, some.lists(values, max_size=9), some.booleans()), max_size=12)


@given(curves, some.integers(2, 4), some.booleans())
def test_the_order_of_the_earlier_trials_changes_nothing(
    earlier: list[Curve], factor: int, higher: bool
) -> None:
    steps = rungs(1, factor, 10)
    mixed = sorted(earlier, key=lambda curve: (len(curve.values), curve.stopped, list(curve.values)))
    assert halving_limits(mixed, steps, factor, higher) == halving_limits(earlier, steps, factor, higher)


@given(some.lists(values, min_size=1, max_size=30), some.integers(2, 5))
def test_one_in_factor_goes_on(earlier: list[float], factor: int) -> None:
    """Of the trial and the earlier ones at most that part, or the very best, is at least as good as the limit."""
    (limit,) = halving_limits([Curve([value]) for value in earlier], [1], factor)
    assert limit is not None
    better = sum(value < limit for value in earlier)
    assert better < max(1, (len(earlier) + 1) // factor) <= sum(value <= limit for value in earlier)
