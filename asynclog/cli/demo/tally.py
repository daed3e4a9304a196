"""Counts and times the log calls of one source; knows nothing of pipelines.

A tally is an array of numbers, so that a forked worker can keep its own in shared memory and the
parent can read it when the worker is gone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, MutableSequence
from time import perf_counter_ns
from typing import Any, Final, Protocol

_FINE_BITS: Final = 5
"""32 cells for each doubling: a time is known to about 3 %."""
_FINE: Final = 1 << _FINE_BITS
CELLS: Final = _FINE * 36
"""Up to half a minute a call; longer ones count as that."""


class Tally:
    """A histogram of durations with logarithmic cells.

    Args:
        cells: Where to count, :data:`CELLS` zeros; one's own when not given.
    """

    __slots__ = ("cells",)

    def __init__(self, cells: MutableSequence[int] | None = None) -> None:
        self.cells: Any = array("Q", bytes(8 * CELLS)) if cells is None else cells

    def add(self, nanoseconds: int) -> None:
        """Count one duration."""
        at = max(nanoseconds, 0)
        shift = at.bit_length() - _FINE_BITS - 1
        if shift > 0:
            at = min((shift << _FINE_BITS) + (at >> shift), CELLS - 1)
        self.cells[at] += 1

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.cells)

    def quantile(self, share: float) -> float:
        """Return the duration that ``share`` of all do not exceed, in nanoseconds; 0 of none."""
        rest = share * self.count
        for at, number in enumerate(self.cells):
            rest -= number
            if number and rest <= 0:
                return _middle(at)
        return 0.0

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum of several tallies."""
        whole = cls()
        for tally in tallies:
            for at, number in enumerate(tally.cells):
                whole.cells[at] += number
        return whole


def _middle(at: int) -> float:
    shift = (at >> _FINE_BITS) - 1
    if shift <= 0:
        return float(at)
    return float(((at - (shift << _FINE_BITS)) << shift) + (1 << shift) / 2)


class Switch:
    """Says to all sources at once whether they are measured, whether they log, when to stop."""

    __slots__ = ("logging", "measuring", "stopping")

    def __init__(self) -> None:
        self.logging: bool = False
        self.measuring: bool = False
        self.stopping: bool = False


class Logger(Protocol):
    """What the demo needs of a bound logger."""

    def bind(self, **context: Any) -> Logger:
        """Return a logger with more context."""
        ...

    def debug(self, event: str, **fields: Any) -> Any:
        """Log a detail."""
        ...

    def info(self, event: str, **fields: Any) -> Any:
        """Log an event."""
        ...

    def log_metrics(self, metrics: dict[str, Any], *, step: int, split: str) -> Any:
        """Log numbers."""
        ...

    async def adebug(self, event: str, **fields: Any) -> Any:
        """Log a detail; wait when there is no room."""
        ...


class Journal:
    """Logs for one source when the switch says so, and counts and times every call that returned.

    Args:
        log: Logger of the source.
        tally: Where its calls are counted; for one thread only.
        switch: Whether to log at all.
    """

    __slots__ = ("log", "switch", "tally")

    def __init__(self, log: Logger, tally: Tally, switch: Switch) -> None:
        self.log: Logger = log
        self.tally: Tally = tally
        self.switch: Switch = switch

    def bind(self, **context: Any) -> Journal:
        """Return a journal with more context that counts in the same place."""
        return Journal(self.log.bind(**context), self.tally, self.switch)

    def debug(self, event: str, **fields: Any) -> None:
        """Log a detail."""
        if self.switch.logging:
            debug = self.log.debug
            began = perf_counter_ns()
            debug(event, **fields)
            self.tally.add(perf_counter_ns() - began)

    def info(self, event: str, **fields: Any) -> None:
        """Log an event."""
        if self.switch.logging:
            info = self.log.info
            began = perf_counter_ns()
            info(event, **fields)
            self.tally.add(perf_counter_ns() - began)

    def metrics(self, metrics: dict[str, Any], step: int, split: str) -> None:
        """Log numbers of a step."""
        if self.switch.logging:
            log_metrics = self.log.log_metrics
            began = perf_counter_ns()
            log_metrics(metrics, step=step, split=split)
            self.tally.add(perf_counter_ns() - began)

    async def adebug(self, event: str, **fields: Any) -> None:
        """Log a detail; wait when there is no room."""
        if self.switch.logging:
            debug = self.log.adebug
            began = perf_counter_ns()
            await debug(event, **fields)
            self.tally.add(perf_counter_ns() - began)
