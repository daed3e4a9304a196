"""What a program's set-up changes in logging: one handler on the root logger, levels, warnings."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from .._lifecycle import default_pipeline
from .handler import Handler
from .warning_events import capture_warnings


class _Change(NamedTuple):
    """A logger's level.

    Attributes:
        before: What it was before we changed it.
        now: What we have set it to.
    """

    before: int
    now: int


_handler: Handler | None = None
_changes: dict[str, _Change] = {}


def install(level: int, levels: Mapping[str, int]) -> None:
    """Send what the root logger gets into the default pipeline, and set levels on both sides.

    Levels of single loggers that an earlier call has set, and this one does not, are put back.

    Args:
        level: Level of all loggers.
        levels: Levels of single loggers and all below them.
    """
    global _handler
    root = logging.getLogger()
    _take_over(root)
    for logger in list(root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            _take_over(logger)
    if _handler is None or _handler not in root.handlers:
        _handler = Handler()
        root.addHandler(_handler)
    root.setLevel(level)
    _set_levels(levels)
    table = default_pipeline().levels
    kept = {name: number for name, number in table.levels().items() if name}
    for name, change in list(_changes.items()):
        if name not in levels:
            del _changes[name]
            if kept.get(name) == change.now:
                del kept[name]
    table.replace(level, {**kept, **levels})
    capture_warnings()


def _set_levels(levels: Mapping[str, int]) -> None:
    for name, change in _changes.items():
        logger = logging.getLogger(name)
        # somebody else may have changed it meanwhile
        if name not in levels and logger.level == change.now:
            logger.setLevel(change.before)
    for name, number in levels.items():
        logger = logging.getLogger(name)
        before = _changes[name].before if name in _changes else logger.level
        _changes[name] = _Change(before, number)
        logger.setLevel(number)


def _take_over(logger: logging.Logger) -> None:
    """Have a logger that shows its records on the console hand them on instead.

    Torch, uvicorn and others give their loggers such a handler, and do not let them propagate.
    """
    for handler in logger.handlers[:]:
        if handler is not _handler and _shows_twice(handler):
            logger.removeHandler(handler)
            logger.propagate = True


def _shows_twice(handler: logging.Handler) -> bool:
    """Tell whether a handler shows on the console what the pipeline shows there, too."""
    if type(handler) is Handler:
        return handler.pipeline is default_pipeline()
    kind = type(handler)
    if kind is logging.StreamHandler:
        stream: Any = getattr(handler, "stream", None)
        return stream in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return (kind.__module__, kind.__qualname__) == ("rich.logging", "RichHandler")
