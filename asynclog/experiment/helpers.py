"""Stages, timers, intervals and best values of the default pipeline, as functions."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any

from .._best import BestValue, best_key
from .._logger.default import default_system
from .._logger.every import Every, intervals, key_of
from .._logger.stages import Stage, Timer, set_timers

__all__ = ["get_best_metric", "log_every", "set_timers", "should_run", "stage", "timer"]


def stage(name: str, /, **metadata: Any) -> Stage:
    """Name a stage of the program, for ``with`` and ``async with``.

    Its start and its end, with how long it took, are records of level info. All records in
    between, of all loggers and of tasks and threads that take the context along, carry its path
    in the field ``stage``. Stages may nest: ``epoch/train/batch``.

    Args:
        name: Its name.
        **metadata: What there is to say of it; fields of its two records.

    Returns:
        An object with ``name``, ``path``, ``metadata`` and ``elapsed``, by attribute or key.
    """
    return Stage(default_system().get_logger(), name, metadata)


def timer(name: str, log_result: bool = True) -> Timer:
    """Measure how long a block takes, for ``with`` and ``async with``.

    ``asynclog.set_timers(False)`` and ``ASYNCLOG_TIMER=0`` switch all timers off.

    Args:
        name: What it measures.
        log_result: Whether a record of level info says it.

    Returns:
        An object with ``name`` and ``elapsed``, by attribute or key.
    """
    return Timer(default_system().get_logger(), name, log_result)


def log_every(
    every: int | None = None, seconds: float | str | None = None, key: Hashable | None = None
) -> Every:
    """Keep the lines of a block off the console but for every N-th time, or every S seconds.

    For ``with`` and ``async with``; yields whether it is time, which it is the first time. Files
    get all lines.

    Args:
        every: Show every so many times.
        seconds: Show every so many seconds; a number, or a text such as ``"5 min"``.
        key: What is counted together; by default each place in the program by itself.

    Raises:
        SettingError: Neither ``every`` nor ``seconds`` was given, or both; on entering.
    """
    site = key_of(key, sys._getframe(1))
    return Every((every, seconds), (id(default_system()), site))


def should_run(
    every: int | None = None, seconds: float | str | None = None, key: Hashable | None = None
) -> bool:
    """Tell whether it is the N-th time, or S seconds later; the first time it is.

    Args:
        every: Every so many times.
        seconds: Every so many seconds; a number, or a text such as ``"5 min"``.
        key: What is counted together; by default each place in the program by itself.

    Raises:
        SettingError: Neither ``every`` nor ``seconds`` was given, or both.
    """
    site = key_of(key, sys._getframe(1))
    return intervals.due(every, seconds, (id(default_system()), site))


def get_best_metric(name: str, split: str | None = "val") -> BestValue | None:
    """Return the best value of a metric that this process has logged.

    With a :class:`Best` sink, what its file said when the run was started counts as well.

    Args:
        name: Of the metric.
        split: The split it was logged with, None for none.

    Returns:
        ``value``, ``step`` and ``mode``; None when there is no such metric.
    """
    return default_system().best.get(best_key(name, split))
