"""Turns the raw rounds into medians, quartiles and ratios to the reference of the same round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.adapters import Adapter
from bench.measure import median, quartile

COUNTED = (
    "calls",
    "lines",
    "dropped",
    "lost",
    "broken",
    "incomplete",
    "doubled",
    "late",
    "other",
    "unwritten",
)


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds, and the extremes."""

    median: float
    low: float
    high: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(
            median(values),
            quartile(values, 0.25),
            quartile(values, 0.75),
            min(values),
            max(values),
            len(values),
        )


class Results:
    """The rounds, asked by scenario, library and metric."""

    def __init__(
        self, records: Iterable[Mapping[str, Any]], libraries: Mapping[str, type[Adapter]]
    ) -> None:
        self.libraries = libraries
        self._records = list(records)

    def records(self, scenario: str, library: str) -> list[Mapping[str, Any]]:
        """Return the rounds of a library under a scenario, failed ones too."""
        return [
            record
            for record in self._records
            if record["scenario"] == scenario and record["library"] == library
        ]

    def by_round(self, scenario: str, library: str, key: str) -> dict[int, float]:
        """Return a metric by round."""
        return {
            record["round"]: record["metrics"][key]
            for record in self.records(scenario, library)
            if key in record.get("metrics", {})
        }

    def values(self, scenario: str, library: str, key: str) -> list[float]:
        """Return a metric of all rounds."""
        return list(self.by_round(scenario, library, key).values())

    def spread(self, scenario: str, library: str, key: str) -> Spread | None:
        """Return the spread of a metric; None when there is no round."""
        values = self.values(scenario, library, key)
        return Spread.of(values) if values else None

    def ratio(
        self, scenario: str, library: str, key: str, reference: str | None = None
    ) -> Spread | None:
        """Return the spread of the ratios to the reference, each taken within one round."""
        if reference is None and library in self.libraries:
            reference = self.libraries[library].reference
        if reference is None:
            return None
        theirs = self.by_round(scenario, reference, key)
        ratios = [
            value / theirs[number]
            for number, value in self.by_round(scenario, library, key).items()
            if theirs.get(number)
        ]
        return Spread.of(ratios) if ratios else None

    def written(self, scenario: str, library: str) -> dict[str, int]:
        """Return what became of the calls of all rounds together, and the unfinished rounds."""
        sums: dict[str, int] = dict.fromkeys((*COUNTED, "unfinished", "failed"), 0)
        for record in self.records(scenario, library):
            written: Mapping[str, Any] = record.get("written") or {}
            for key in COUNTED:
                sums[key] += written.get(key, 0)
            sums["unfinished"] += bool(written.get("unfinished"))
            sums["failed"] += bool(written.get("error")) or "error" in record
        return sums
