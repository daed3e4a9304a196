"""What a scenario is: a function of a stage, its numbers, and the columns of its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from bench.stage import Stage

Metrics: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Column:
    """A figure of a table: its key in the metrics, title and unit, and whether it has a ratio."""

    key: str
    title: str
    unit: str = "ns"
    ratio: bool = False


@dataclass(frozen=True)
class Scenario:
    """One measurement, with its numbers for a full, a quick and a tiny run.

    ``reference`` replaces the library's own where something else is the thing to compare with;
    ``peer_rounds`` is how many of the rounds the peers take part in; ``drain_limit`` bounds the
    library's end, ``limit`` the whole process, in seconds.
    """

    name: str
    title: str
    about: str
    run: Callable[[Stage], Metrics]
    columns: tuple[Column, ...]
    rounds: int
    full: Mapping[str, Any]
    quick: Mapping[str, Any]
    tiny: Mapping[str, Any]
    peer_rounds: int = 3
    drain_limit: float = 30.0
    limit: float = 60.0
    reference: str | None = None

    def sizes(self, scale: str) -> Mapping[str, Any]:
        """Return the numbers of a scale by its name."""
        return {"full": self.full, "quick": self.quick, "tiny": self.tiny}[scale]
