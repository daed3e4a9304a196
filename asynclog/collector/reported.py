"""What ranks have reported for a step, a split and a name, and the record that becomes of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

from .._line.encoder import timestamp

Record: TypeAlias = dict[str, Any]
_NO_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TOKENS: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


@dataclass(slots=True)
class Values:
    """What the ranks have reported for one step, split and name, so far.

    Mean and squares by Welford (Technometrics 4, 1962): one pass, and no large sums that cancel.

    Attributes:
        step: Step, None without one.
        split: Split, None without one.
        name: Name of the metric.
        best: Whether the best of it is kept track of.
        mode: ``min`` or ``max`` for what is best, None where it is guessed.
        ranks: Those that have reported, one bit each.
        mean: Their mean.
        squares: Sum of the squares of their distances from the mean.
        low: Smallest.
        high: Largest.
        total: Sum.
        first: When the first of them reported.
        last: When the last of them reported.
        slowest: Which one that was.
        opened: When the first came here, seconds on the caller's clock.
    """

    step: int | None
    split: str | None
    name: str
    best: bool = True
    mode: str | None = None
    ranks: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0
    first: str = ""
    last: str = ""
    slowest: int = 0
    opened: float = 0.0

    def add(self, rank: int, value: float, time: str) -> None:
        """Add what a rank has reported."""
        self.ranks |= 1 << rank
        distance = value - self.mean
        self.mean += distance / self.ranks.bit_count()
        self.squares += distance * (value - self.mean)
        self.total += value
        # NaN is neither less nor more, and stays
        self.low = value if value != value or value < self.low else self.low
        self.high = value if value != value or value > self.high else self.high
        self.first = min(self.first or time, time)
        if time >= self.last:
            self.last, self.slowest = time, rank

    def statistics(self, wanted: Sequence[str]) -> dict[str, Any]:
        """Return the mean under the metric's name, and what else is wanted beside it."""
        count = self.ranks.bit_count()
        if count == 1:
            return {self.name: _json(self.total)}
        found = {
            "min": self.low,
            "max": self.high,
            "sum": self.total,
            "std": math.sqrt(self.squares / count) if math.isfinite(self.squares) else math.nan,
            "count": count,
        }
        mean = self.mean if math.isfinite(self.total) else self.total
        return {
            self.name: _json(mean),
            **{f"{self.name}/{each}": _json(found[each]) for each in wanted},
        }


def numbers(event: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the names and values of a record of metrics."""
    metrics: object = event.get("metrics")
    if isinstance(metrics, Mapping):
        for name, value in cast("Mapping[str, object]", metrics).items():
            if isinstance(value, (int, float)):
                try:
                    yield name, float(value)
                except OverflowError:
                    # 300 digits and more: only somebody else's library reads such integers
                    continue
            elif isinstance(value, str) and value in _NO_NUMBERS:
                yield name, _NO_NUMBERS[value]


def records(done: Iterable[Values], wanted: Sequence[str], world: int) -> Iterator[Record]:
    """Yield the records of what is done: one for all that differ in the name alone."""
    alike: dict[Any, list[Values]] = {}
    for values in done:
        common = values.step, values.split, values.best, values.mode, values.ranks
        alike.setdefault(common, []).append(values)
    for group in alike.values():
        last = max(group, key=lambda values: values.last)
        record: Record = {
            "timestamp": last.last or timestamp().decode(),
            "kind": "metrics",
            "level": "info",
            "event": "metrics",
            **place(last.step, last.split),
            "metrics": {
                name: value for values in group for name, value in values.statistics(wanted).items()
            },
        }
        if not last.best:
            record["best"] = False
        if last.mode is not None:
            record["mode"] = last.mode
        record["ranks"], record["world_size"] = last.ranks.bit_count(), world
        if record["ranks"] > 1:
            record["slowest_rank"] = last.slowest
            record["lag"] = _seconds_between(last.first, last.last)
        yield {**record, "quiet": True}


def note(event: str, level: str, fields: Mapping[str, Any]) -> Record:
    """Return a record of the collector's own."""
    return {
        "timestamp": timestamp().decode(),
        "kind": "note",
        "level": level,
        "event": event,
        "logger": "asynclog",
        **fields,
    }


def place(step: int | None, split: str | None) -> Record:
    """Return where something belongs, as fields."""
    return {name: value for name, value in (("step", step), ("split", split)) if value is not None}


def _seconds_between(first: str, last: str) -> float | None:
    try:
        return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
    except (TypeError, ValueError):
        return None


def _json(value: float) -> float | str:
    return value if math.isfinite(value) else _TOKENS[str(value)]
