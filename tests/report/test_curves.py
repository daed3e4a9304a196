"""Curves: any number of values in bounded memory, with their means and extremes kept."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.report.activity import MAX_BARS, Activity
from asynclog.report.curves import MAX_CURVES, MAX_POINTS, Curves, Series, join

LOSS = Series("loss", "train", 0)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.tuples(st.integers(0, 10**9), NUMBERS), min_size=1, max_size=3000))
def test_extremes_and_mean_survive(values: list[tuple[int, float]]):
    """Whatever steps come in whatever order, no extreme is lost and the mean is the mean."""
    curves = Curves(64)
    for step, value in values:
        curves.note(LOSS, step, value)
    curve = curves.found[LOSS]
    points = [point for _, point in curve.points]
    assert len(points) <= 64
    assert sum(point.count for point in points) == len(values)
    assert min(point.low for point in points) == min(value for _, value in values)
    assert max(point.high for point in points) == max(value for _, value in values)
    total = math.fsum(value for _, value in values)
    size = math.fsum(abs(value) for _, value in values) + 1
    assert sum(point.total for point in points) == pytest.approx(total, abs=1e-9 * size)
    assert all(point.low <= point.high for point in points)


def test_few_values_are_kept_as_they_are():
    """A curve that fits is not down-sampled: each step is a point."""
    curves = Curves(10_000)
    for step in range(MAX_POINTS):
        curves.note(LOSS, step * 100, step / 2)
    joined = join([curves.found[LOSS]])
    assert joined.step == [step * 100 for step in range(MAX_POINTS)]
    assert joined.mean == joined.low == joined.high == [step / 2 for step in range(MAX_POINTS)]
    assert curves.coarsest == 1


def test_points_of_all_curves_are_bounded():
    """Many metrics and ranks share the points of a page."""
    curves = Curves(5_000)
    for step in range(500):
        for rank in range(8):
            for name in "abcdef":
                curves.note(Series(name, "", rank), step, step)
    assert len(curves.found) == 48
    assert sum(len(curve.points) for curve in curves.found.values()) <= 5_000
    assert curves.coarsest > 1


def test_too_many_curves_are_named_as_left_out():
    """A name that varies makes no page without end."""
    curves = Curves(100_000)
    for number in range(MAX_CURVES + 10):
        curves.note(Series(f"loss{number}", "", None), 0, 1.0)
    assert len(curves.found) == MAX_CURVES
    assert len(curves.left_out) == 10


def test_what_is_not_finite_is_counted():
    """NaN and infinities are no points; they are counted, with the step of the first."""
    curves = Curves(1000)
    for step, value in enumerate([1.0, "NaN", "Infinity", 2.0, "-Infinity", "text", None]):
        curves.note_record({"step": step, "split": "train", "rank": 0, "metrics": {"loss": value}})
    curve = curves.found[LOSS]
    assert (curve.count, curve.last, curve.not_finite, curve.bad_step) == (2, 2.0, 3, 1)
    assert join([curve]).step == [0, 3]
    assert curves.not_numbers == 2


def test_ranks_are_joined_with_equal_weight():
    """The curve of several ranks has their mean, and the extremes of any of them."""
    curves = Curves(100_000)
    for step in range(4 * MAX_POINTS):
        for rank in (0, 1):
            if rank == 0 or step % 2 == 0:
                curves.note(("loss", "train", rank), step, float(rank))
    joined = join(curves.found.values())
    assert set(joined.mean) == {0.5}
    assert set(joined.low) == {0.0}
    assert set(joined.high) == {1.0}
    assert joined.step == sorted(joined.step)
    assert len(joined.step) <= MAX_POINTS


def test_values_without_a_step_are_counted_through():
    """Without steps the place of a value is its number."""
    curves = Curves(100)
    for value in (3.0, 2.0, 1.0):
        curves.note_record({"metrics": {"loss": value}})
    [curve] = curves.found.values()
    assert join([curve]).step == [0, 1, 2]
    assert not curve.has_steps


def test_lines_over_time_are_counted_in_bounded_memory():
    """However long a run is, there are no more bars than are drawn, and every line counts."""
    activity = Activity()
    chance = random.Random(1)
    for _ in range(20_000):
        activity.note(1.7e9 + chance.random() * 1e6, "info")
    activity.note(1.7e9, "error")
    bars = activity.bars()
    assert len(bars.start) <= MAX_BARS
    assert sum(bars.counts["info"]) == 20_000
    assert sum(bars.counts["error"]) == 1
    assert bars.start[0] <= 1.7e9 < bars.start[0] + bars.width
