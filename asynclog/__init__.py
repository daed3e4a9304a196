"""Async-native structured logging: a call never blocks, never raises, and is never lost silently.

Start a pipeline with :func:`start` (or :func:`start_sync`), log with ``structlog.get_logger`` or
:func:`get_logger`, and end it with :func:`stop`, which says what became of every record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._lifecycle import (
    configure,
    flush,
    flush_sync,
    get_logger,
    running,
    set_level,
    start,
    start_sync,
    stats,
    stop,
    stop_sync,
)
from ._logger.catch import catch
from ._logger.lazy import lazy
from ._logger.system import BoundLogger
from ._settings import PipelineOptions
from .collector.stats import Report, SinkReport, Stats
from .exceptions import (
    AlreadyStartedError,
    AsynclogError,
    MissingExtraError,
    SettingError,
    SpoolError,
)
from .pipeline import Pipeline

if TYPE_CHECKING:
    from .sinks import Console, JsonlFile, TextFile

__version__ = "0.1.0"

__all__ = [
    "AlreadyStartedError",
    "AsynclogError",
    "BoundLogger",
    "Console",
    "JsonlFile",
    "MissingExtraError",
    "Pipeline",
    "PipelineOptions",
    "Report",
    "SettingError",
    "SinkReport",
    "SpoolError",
    "Stats",
    "TextFile",
    "__version__",
    "catch",
    "configure",
    "flush",
    "flush_sync",
    "get_logger",
    "lazy",
    "running",
    "set_level",
    "start",
    "start_sync",
    "stats",
    "stop",
    "stop_sync",
]

_SINKS = frozenset(("Console", "JsonlFile", "TextFile"))


def __getattr__(name: str) -> Any:
    # The sinks take a quarter of the import, and a library that only logs needs none.
    if name in _SINKS:
        from . import sinks

        return getattr(sinks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
