"""The ``format`` setting of text sinks: a function or a logging.Formatter makes a record's text.

Either sees texts with their control characters spelled out, so that nothing in a record can forge
another line; colours and line ends of its own making stay.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from .._complain import complain
from .._levels import level_number
from .console import Tracebacks
from .escape import escape_values
from .render import render
from .traceback import has_traceback, render_traceback

FormatFunction: TypeAlias = Callable[[Mapping[str, Any]], str]
Format: TypeAlias = FormatFunction | logging.Formatter

_PLACED: Final = frozenset(("timestamp", "level", "event", "logger", "exception", "stack"))
# what structlog's CallsiteParameterAdder and ours call what a LogRecord has anyway
_CALL_SITE: Final = {
    "file": "pathname",
    "line": "lineno",
    "function": "funcName",
    "task": "taskName",
    "pathname": "pathname",
    "filename": "filename",
    "module": "module",
    "lineno": "lineno",
    "func_name": "funcName",
    "thread": "thread",
    "thread_name": "threadName",
    "process": "process",
    "pid": "process",
    "process_name": "processName",
}
# as text these are names, with ours; as numbers ids, with structlog's
_NAMED: Final = {"thread": "threadName", "process": "processName"}
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def formatter(format: Format, tracebacks: Tracebacks = "short") -> FormatFunction:
    """Return the function that turns an event into text without its last line end.

    A format that raises costs a record its looks only: the usual ones are used, and the error is
    named behind them.
    """

    def function(event: Mapping[str, Any]) -> str:
        try:
            if isinstance(format, logging.Formatter):
                return format.format(log_record(event, tracebacks))
            # the annotation is a user's promise
            return str(format(escape_values(event))).rstrip("\n")
        except Exception as error:
            complain(f"the format of a sink raised: {type(error).__name__}: {error}", kind="format")
            marked = {**event, "format_error": f"{type(error).__name__}: {error}"}
            return render(marked, tracebacks=tracebacks)

    return function


def log_record(event: Mapping[str, Any], tracebacks: Tracebacks = "short") -> logging.LogRecord:
    """Return an event as the LogRecord that a logging.Formatter expects.

    Fields become attributes, as with ``extra=``; one that would replace an attribute of LogRecord
    gets ``_`` behind its name. The exception is there as text only (``exc_text``).
    """
    safe: dict[str, Any] = escape_values(
        {key: value for key, value in event.items() if key not in ("exception", "stack")}
    )
    level = level_number(str(safe.get("level", "info")))
    record = logging.LogRecord(
        name=str(safe.get("logger", "root")),
        level=level,
        pathname="",
        lineno=0,
        msg=str(safe.get("event", "")),
        args=None,
        exc_info=None,
    )
    # where the record was made, not where it is shown
    record.thread = record.threadName = record.process = record.processName = None
    _set_time(record, safe.get("timestamp"))
    if has_traceback(event):
        record.exc_text = render_traceback(event, tracebacks)
    for key, value in safe.items():
        if key in _NAMED and isinstance(value, str):
            setattr(record, _NAMED[key], value)
        elif key in _CALL_SITE:
            setattr(record, _CALL_SITE[key], value)
        elif key not in _PLACED:
            setattr(record, f"{key}_" if key in _OWN else key, value)
    file = safe.get("file")
    if isinstance(file, str):
        name = os.path.basename(file)
        record.filename = safe.get("filename", name)
        record.module = safe.get("module", os.path.splitext(name)[0])
    return record


def _set_time(record: logging.LogRecord, timestamp: Any) -> None:
    try:
        created = datetime.fromisoformat(timestamp).timestamp()
    except (TypeError, ValueError):
        return
    record.relativeCreated += (created - record.created) * 1000
    record.created = created
    record.msecs = float(int(created % 1 * 1000))
