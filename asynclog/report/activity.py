"""How many lines of each level a run has over time, in bounded memory."""

from __future__ import annotations

from typing import Final, NamedTuple

from .bins import Bins

LEVELS: Final[tuple[str, ...]] = ("debug", "info", "warning", "error", "critical")
MAX_BARS: Final = 160
"""Bars that are drawn."""
FINEST: Final = 1 / 1024
"""Seconds of the narrowest bar."""
_HELD: Final = 4_096


class Bars(NamedTuple):
    """Lines over time.

    Attributes:
        start: Where each bar begins, in seconds since 1970.
        width: Of all of them, in seconds.
        counts: Lines by level, one number for each bar.
    """

    start: list[float]
    width: float
    counts: dict[str, list[int]]


class _Counts:
    """Lines by level."""

    __slots__ = ("of_level",)

    def __init__(self) -> None:
        self.of_level = [0] * len(LEVELS)

    def merge(self, other: _Counts) -> None:
        self.of_level = [a + b for a, b in zip(self.of_level, other.of_level, strict=True)]


class Activity:
    """Counts lines by level over time."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = dict.fromkeys(LEVELS, 0)
        self._bins: Bins[_Counts] = Bins(FINEST)

    def note(self, time: float, level: str) -> None:
        """Count a line.

        Args:
            time: Of the line, in seconds since 1970.
            level: One of :data:`LEVELS`.
        """
        self.totals[level] += 1
        self._at(time).of_level[LEVELS.index(level)] += 1

    def add(self, other: Activity) -> None:
        """Take in all that another one has counted."""
        while self._bins.width < other._bins.width:
            self._bins.coarsen()
        for start, counts in other._bins:
            self._at(start).merge(counts)
        for level, number in other.totals.items():
            self.totals[level] += number

    def _at(self, time: float) -> _Counts:
        """Return the bin of a time."""
        bins = self._bins
        held = bins.at(time)
        if held is None:
            if len(bins) >= _HELD:
                bins.shrink(_HELD // 2)
                return self._at(time)
            held = _Counts()
            bins.put(time, held)
        return held

    def bars(self) -> Bars:
        """Return what is to be drawn."""
        bins = self._bins
        while bins.span() > MAX_BARS:
            bins.coarsen()
        found = list(bins)
        return Bars(
            [start for start, _ in found],
            bins.width,
            {level: [each.of_level[i] for _, each in found] for i, level in enumerate(LEVELS)},
        )
