"""Logging of programs that know nothing of asynclog: their records go into the run.

What a handler would only have shown on the console goes the way of all records instead: it would
come twice, as a record and as a printed line.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

from .._lifecycle import default_pipeline

Way: TypeAlias = Callable[[logging.Logger, logging.LogRecord], None]

RUN: Final = "_asynclog_run"
"""Attribute of a record that is sent to another process: the run that it is in already."""


def joined(plain: Way) -> Way:
    """Return what takes the place of ``Logger.callHandlers``.

    Args:
        plain: The method as it was.
    """
    # of a room beside ours; this runs in the user's process, long after both are imported
    handler: logging.Handler = import_module("asynclog.stdlib").Handler()
    kind = type(handler)

    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        if not _in_run():
            plain(logger, record)
            return
        others: list[logging.Handler] = []
        reached = _handlers(logger)
        if reached and _is_shut_off(logger) and all(map(_is_null, reached)):
            # a library keeps it to itself
            return
        if any(map(_is_sender, reached)):
            record.__dict__[RUN] = str(default_pipeline().run_dir)
        for each in reached:
            if isinstance(each, kind):
                # the program sends it into a pipeline itself
                plain(logger, record)
                return
            if not _is_console(each):
                others.append(each)
        handler.handle(record)
        for each in others:
            if record.levelno >= each.level:
                each.handle(record)

    return call_handlers


def has_joined(record: logging.LogRecord, run_dir: Path | None) -> bool:
    """Say whether a record that another process has sent is in a run already."""
    return record.__dict__.get(RUN) == str(run_dir)


def _in_run() -> bool:
    """Say whether the records of this process get into the files of the run."""
    return default_pipeline().joined


def _handlers(logger: logging.Logger) -> list[logging.Handler]:
    """Return the handlers that a record of a logger reaches."""
    found: list[logging.Handler] = []
    each: logging.Logger | None = logger
    while each is not None:
        found.extend(each.handlers)
        each = each.parent if each.propagate else None
    return found


def _is_shut_off(logger: logging.Logger) -> bool:
    """Say whether the records of a logger do not get to the root logger."""
    each: logging.Logger | None = logger
    while each is not None:
        if not each.propagate and each.parent is not None:
            return True
        each = each.parent
    return False


def _is_null(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.NullHandler)


def _is_sender(handler: logging.Handler) -> bool:
    """Say whether a handler sends records to another process."""
    module = sys.modules.get("logging.handlers")
    return module is not None and isinstance(handler, module.SocketHandler)


def _is_console(handler: logging.Handler) -> bool:
    kind: Any = type(handler)
    if kind is logging.StreamHandler:
        stream: Any = getattr(handler, "stream", None)
        return stream in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return (kind.__module__, kind.__qualname__) == ("rich.logging", "RichHandler")
