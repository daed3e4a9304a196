"""Has asynclog become slower beside its references? Ratios of two runs, never absolute times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench._scenario import Column, Scenario
from bench.gates import DEFAULT, SLOW_SINK, USER
from bench.report import table
from bench.summary import Results, Spread

SPREADS: Final = 3.0
"""Distances between the stored quartiles by which a median may be worse."""
LEAST: Final = 0.05
"""Share of the stored median that is always allowed: a few rounds may agree by chance."""


@dataclass(frozen=True)
class Comparison:
    """One ratio of a library to its reference, then and now."""

    scenario: str
    library: str
    figure: str
    stored: Spread
    fresh: Spread
    more_is_better: bool

    @property
    def limit(self) -> float:
        """The worst median that passes."""
        median, spread = self.stored.median, self.stored.high - self.stored.low
        times = 1 + max(SPREADS * spread / median, LEAST)
        return median / times if self.more_is_better else median * times

    @property
    def worse(self) -> bool:
        """Whether the ratio has become worse than the stored spread explains."""
        median = self.fresh.median
        return median < self.limit if self.more_is_better else median > self.limit


def compare(stored: Results, fresh: Results, scenarios: Sequence[Scenario]) -> list[Comparison]:
    """Return every ratio of asynclog that both runs have."""
    return [
        Comparison(scenario.name, name, column.title, then, now, column.unit == "rate")
        for scenario in scenarios
        for name in (DEFAULT, USER, SLOW_SINK)
        for column in scenario.columns
        if column.ratio
        if (then := _ratio(stored, scenario, name, column)) is not None
        if (now := _ratio(fresh, scenario, name, column)) is not None
    ]


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return the ratios side by side, as Markdown."""
    return table(
        ("scenario", "library", "figure", "stored", "limit", "now", "verdict"),
        [
            (
                one.scenario,
                one.library,
                one.figure,
                f"{one.stored.median:.3f}x [{one.stored.low:.3f}, {one.stored.high:.3f}]",
                f"{'>=' if one.more_is_better else '<='} {one.limit:.3f}x",
                f"{one.fresh.median:.3f}x [{one.fresh.low:.3f}, {one.fresh.high:.3f}]",
                "**worse**" if one.worse else "as good",
            )
            for one in comparisons
        ],
    )


def _ratio(results: Results, scenario: Scenario, library: str, column: Column) -> Spread | None:
    return results.ratio(scenario.name, library, column.key, scenario.reference)
