"""What the old names of ExperimentLogger need to go on working."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Hashable
from contextlib import contextmanager

from .._logger.every import Intervals


@contextmanager
def due(
    intervals: Intervals, every: int | None, seconds: float | str | None, key: Hashable
) -> Generator[bool, None, None]:
    """Yield whether it is time."""
    yield intervals.due(every, seconds, key)


def warn(name: str, instead: str) -> None:
    """Say in the caller's caller which method to use."""
    warnings.warn(
        f"ExperimentLogger.{name}() is deprecated, use {instead}()",
        DeprecationWarning,
        stacklevel=3,
    )
