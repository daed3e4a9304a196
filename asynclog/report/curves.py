"""The curves of a run's metrics, each in bounded memory: means and extremes over spans of steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from .bins import Bins
from .text import MAX_NAME, cut

MAX_CURVES: Final = 4_000
"""Curves of one page; metrics, splits and ranks beyond are named as left out."""
MIN_POINTS: Final = 16
"""Points that every curve keeps, however many there are."""
MAX_POINTS: Final = 1_000
"""Points of one curve: as many as a wide screen can show."""

_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Series(NamedTuple):
    """What a curve is of.

    Attributes:
        name: Of the metric, ``"grad/norm"``.
        split: ``"train"``; empty where none was given.
        rank: None outside a distributed job.
    """

    name: str
    split: str
    rank: int | None


class Point:
    """The values of some neighbouring steps.

    Attributes:
        count: How many.
        steps: Sum of their steps.
        total: Sum of the values.
        low: The least.
        high: The largest.
    """

    __slots__ = ("count", "high", "low", "steps", "total")

    def __init__(self, step: float, value: float) -> None:
        self.count: int = 1
        self.steps: float = step
        self.total: float = value
        self.low: float = value
        self.high: float = value

    def note(self, step: float, value: float) -> None:
        """Take in one more value."""
        self.count += 1
        self.steps += step
        self.total += value
        if value < self.low:
            self.low = value
        elif value > self.high:
            self.high = value

    def merge(self, other: Point) -> None:
        """Take in those of the steps beside."""
        self.count += other.count
        self.steps += other.steps
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)

    @property
    def step(self) -> float:
        """Mean of the steps."""
        return self.steps / self.count

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return self.total / self.count


@dataclass(slots=True)
class Curve:
    """The values of one series.

    Attributes:
        points: Over steps; over their number for values without a step.
        has_steps: Whether steps were given.
        count: Finite values.
        last: The last of them.
        not_finite: How many were NaN or infinite.
        bad_step: Step of the first of those.
    """

    points: Bins[Point]
    has_steps: bool
    count: int = 0
    last: float = math.nan
    not_finite: int = 0
    bad_step: float | None = None


class Joined(NamedTuple):
    """Several curves of one metric as one.

    Attributes:
        step: Of each point.
        low: The least value of any.
        mean: Mean of the means.
        high: The largest value of any.
    """

    step: list[float]
    low: list[float]
    mean: list[float]
    high: list[float]


class Curves:
    """All curves of a run.

    Args:
        max_points: Points of all curves together; above that, they all get coarser.
    """

    def __init__(self, max_points: int) -> None:
        self.found: dict[Series, Curve] = {}
        self.left_out: set[str] = set()
        self.not_numbers: int = 0
        self._limit = MAX_POINTS
        self._max_points = max_points
        self._points = 0

    def note_record(self, record: Mapping[str, Any]) -> None:
        """Take in a record of metrics; what is none, or no number, is left alone."""
        metrics = record.get("metrics")
        if not isinstance(metrics, Mapping):
            return
        step, split, rank = record.get("step"), record.get("split"), record.get("rank")
        step = step if isinstance(step, (int, float)) else None
        split = cut(split) if isinstance(split, str) else ""
        rank = rank if isinstance(rank, int) else None
        for name, value in cast("Mapping[str, object]", metrics).items():
            number = value if type(value) is float else _number(value)
            if number is None:
                self.not_numbers += 1
            else:
                series = (name if len(name) <= MAX_NAME else cut(name), split, rank)
                self.note(series, step, number)

    def note(self, series: tuple[str, str, int | None], step: float | None, value: float) -> None:
        """Take in one value.

        Args:
            series: What it is of: metric, split and rank.
            step: Its step, None for one without.
            value: The value.
        """
        # a tuple finds what a Series holds, and making none saves a third of the time
        curve = self.found.get(cast(Series, series))
        if curve is None:
            if len(self.found) >= MAX_CURVES:
                if len(self.left_out) < MAX_CURVES:
                    self.left_out.add(series[0])
                return
            curve = self.found[Series(*series)] = Curve(Bins(1), step is not None)
        place = curve.count + curve.not_finite if step is None else step
        if not math.isfinite(value):
            curve.not_finite += 1
            if curve.bad_step is None:
                curve.bad_step = place
            return
        curve.count += 1
        curve.last = value
        point = curve.points.at(place)
        if point is None:
            curve.points.put(place, Point(place, value))
            self._points += 1
            self._bound(curve)
        else:
            point.note(place, value)

    def _bound(self, curve: Curve) -> None:
        """Make a curve coarser if it has too many points, and all of them if they all have."""
        before = len(curve.points)
        if before > self._limit:
            curve.points.shrink(self._limit)
            self._points += len(curve.points) - before
        if self._points > self._max_points:
            self._all_coarser()

    def _all_coarser(self) -> None:
        while self._points > self._max_points and self._limit > MIN_POINTS:
            self._limit //= 2
            for curve in self.found.values():
                curve.points.shrink(self._limit)
            self._points = sum(len(curve.points) for curve in self.found.values())

    @property
    def coarsest(self) -> int:
        """The largest number of steps that share a point; 1 when every value is a point."""
        return max((int(curve.points.width) for curve in self.found.values()), default=1)


def join(curves: Iterable[Curve]) -> Joined:
    """Join the curves of several ranks into one, with equal weight for each."""
    held = [curve.points for curve in curves]
    width = max((bins.width for bins in held), default=1.0)
    places: dict[int, list[Point]] = {}
    for bins in held:
        own: dict[int, Point] = {}
        for start, point in bins:
            index = int(start // width)
            if index in own:
                merged = _copy(own[index])
                merged.merge(point)
                own[index] = merged
            else:
                own[index] = point
        for index, point in own.items():
            places.setdefault(index, []).append(point)
    joined = Joined([], [], [], [])
    for index in sorted(places):
        points = places[index]
        joined.step.append(sum(point.step for point in points) / len(points))
        joined.low.append(min(point.low for point in points))
        joined.mean.append(sum(point.mean for point in points) / len(points))
        joined.high.append(max(point.high for point in points))
    return joined


def _copy(point: Point) -> Point:
    copy = Point(0.0, 0.0)
    copy.count, copy.steps, copy.total = point.count, point.steps, point.total
    copy.low, copy.high = point.low, point.high
    return copy


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return _NOT_FINITE.get(value)
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None
