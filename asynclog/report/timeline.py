"""Where a run's time went: its stages one after the other, and stages and timers added up."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NamedTuple

from .text import cut

MAX_SPANS: Final = 2_000
"""Stages on a page that are drawn, the longest ones."""
MAX_NAMES: Final = 500
"""Stages and timers that are added up under names of their own."""
_MAX_OPEN: Final = 10_000


class Span(NamedTuple):
    """One stage from its start to its end.

    Attributes:
        path: ``"epoch/train"``.
        rank: None outside a distributed job.
        start: In seconds since 1970.
        end: The same; the end of the run where the stage had none.
        error: Type of the exception that ended it, empty without one.
        ended: Whether it had an end.
    """

    path: str
    rank: int | None
    start: float
    end: float
    error: str
    ended: bool


@dataclass(slots=True)
class Spent:
    """The time spent in all stages of one path, or measured by all timers of one name.

    Attributes:
        count: How often.
        total: Seconds, those of all ranks together.
        longest: Seconds.
        longest_rank: Of which rank the longest was.
        failed: How many ended by an exception.
    """

    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    longest_rank: int | None = None
    failed: int = 0


class Timeline:
    """Collects the stages and timers of a run.

    Args:
        limit: Stages that are drawn.
    """

    def __init__(self, limit: int = MAX_SPANS) -> None:
        self._limit = limit
        self.stages: dict[str, Spent] = {}
        self.timers: dict[str, Spent] = {}
        self.left_out: int = 0
        self._longest: list[tuple[float, int, Span]] = []
        self._number = count()
        self._open: dict[tuple[object, ...], list[Span]] = {}
        self._opened = 0

    def note_stage(self, record: Mapping[str, Any], time: float) -> None:
        """Take in a stage's start or end.

        Args:
            record: The record.
            time: Its time, in seconds since 1970.
        """
        path = cut(str(record.get("stage", "")))
        rank = _rank(record)
        who = (record.get("host"), record.get("pid"), rank, path)
        if record.get("stage_event") == "start":
            if self._opened < _MAX_OPEN:
                self._opened += 1
                self._open.setdefault(who, []).append(Span(path, rank, time, time, "", False))
            return
        begun = self._open.get(who)
        start = time - _seconds(record)
        if begun:
            start = begun.pop().start
            self._opened -= 1
            if not begun:
                del self._open[who]
        error = record.get("error")
        self._add(Span(path, rank, start, time, cut(str(error)) if error else "", True))

    def note_timer(self, record: Mapping[str, Any]) -> None:
        """Take in what a timer has measured."""
        _spend(
            self.timers,
            cut(str(record.get("timer", ""))),
            _seconds(record),
            _rank(record),
            failed=False,
        )

    def spans(self, end: float) -> list[Span]:
        """Return the stages to draw, in the order of their starts.

        Args:
            end: Of the run, in seconds since 1970; stages without an end last until then.
        """
        for spans in self._open.values():
            for span in spans:
                self._add(span._replace(end=max(end, span.start)))
        self._open.clear()
        self._opened = 0
        return sorted((span for _, _, span in self._longest), key=lambda span: span.start)

    def _add(self, span: Span) -> None:
        seconds = span.end - span.start
        _spend(self.stages, span.path, seconds, span.rank, failed=bool(span.error))
        entry = (seconds, next(self._number), span)
        if len(self._longest) < self._limit:
            heapq.heappush(self._longest, entry)
        else:
            heapq.heappushpop(self._longest, entry)
            self.left_out += 1


def _spend(
    spent: dict[str, Spent], name: str, seconds: float, rank: int | None, *, failed: bool
) -> None:
    if name not in spent and len(spent) >= MAX_NAMES:
        name = "..."
    entry = spent.setdefault(name, Spent())
    entry.count += 1
    entry.total += seconds
    entry.failed += failed
    if seconds > entry.longest:
        entry.longest, entry.longest_rank = seconds, rank


def _seconds(record: Mapping[str, Any]) -> float:
    value = record.get("elapsed")
    if isinstance(value, (int, float)) and math.isfinite(value):
        return max(0.0, float(value))
    return 0.0


def _rank(record: Mapping[str, Any]) -> int | None:
    rank = record.get("rank")
    return rank if isinstance(rank, int) else None
