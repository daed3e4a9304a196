"""What a LogRecord says, in the terms of an event: its fields, its time, its place.

Knows nothing of pipelines. A record may come from anywhere: unpickled in another process, made by
a factory of the user's, or changed by a filter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from .._levels import METHODS
from .._line.plain import free_name, type_of
from .._line.problem import add_problem, describe
from .._line.snapshot import Snapshot, as_dict
from .._line.untrusted import came_from_outside, name_of
from .._origin import ORIGIN_FIELDS
from .._settings import DEFAULT_MAX_EVENT_BYTES

_ATTRIBUTES: Final = tuple(vars(logging.LogRecord("", 0, "", 0, "", None, None)))
STANDARD: Final = frozenset((*_ATTRIBUTES, "asctime", "message", "taskName"))
"""Attributes that every record has, or gets when it is formatted; all others are fields."""
_LAST: Final = _ATTRIBUTES[-1]

# What structlog and uvicorn hand on for their own formatters, and the launcher for its own use.
_MARKS: Final = frozenset(
    ("_record", "_from_structlog", "_logger", "_name", "color_message", "_asynclog_run")
)
_UNKNOWN: Final = ("(unknown file)", "(unknown function)")
_MAIN_PROCESS: Final = "MainProcess"
_KNOWN_LEVELS: Final = frozenset(name.upper() for name in METHODS)
_TAKEN: Final = frozenset(
    (
        *("timestamp", "level", "level_", "logger", *ORIGIN_FIELDS),
        *("exc_info", "exception", "stack_info"),
    )
)

_MEANT: Final = frozenset(("timestamp", "level", "logger", "exc_info", "stack_info", "exception"))

# The text of the second that came last: records come in order, mostly.
_second: tuple[int, str] = (0, "1970-01-01T00:00:00.")


class WarningRecord(logging.LogRecord):
    """A record of a Python warning: its message is the event, its text what Python prints."""

    def getMessage(self) -> str:
        """Return the text for people, for handlers other than ours."""
        category = getattr(self, "category", "Warning")
        return f"{self.pathname}:{self.lineno}: {category}: {self.msg}"


def timestamp(created: Any) -> str | None:
    """Return the time of a record as ``2026-01-31T12:00:00.123456Z``; None if it is no time.

    Args:
        created: Seconds since 1970.
    """
    global _second
    try:
        seconds, micros = divmod(round(created * 1e6), 1_000_000)
        known, text = _second
        if seconds != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))
            _second = (seconds, text)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return f"{text}{micros:06d}Z"


def event_of(record: logging.LogRecord, level: str) -> tuple[Any, dict[str, Any]]:
    """Return the event of a record and its fields.

    A field called like what the record says of itself moves to ``name_``, as in every line.

    Args:
        record: The record; not changed.
        level: Name of the level it is logged at.
    """
    fields: dict[str, Any] = {}
    event = message_of(record, fields)
    own = _own_fields(record)
    for key, value in extra_fields(record):
        fields[free_name(key, fields) if key in fields else key] = value
    if _TAKEN.isdisjoint(fields) and "_logger" not in record.__dict__:
        fields.update(own)
        return event, fields
    taken = {**own, "logger": None, "level": None}
    if "_logger" in record.__dict__:
        # an event dict by way of structlog's wrap_for_formatter: its names mean what ours mean
        event = fields.pop("event", event)
        for key in _MEANT.intersection(fields):
            own.pop(key, None)
            taken.pop(key, None)
    elif fields.get("logger") == record.name:
        del fields["logger"]
    if str(fields.get("level", "")).lower() == level:
        del fields["level"]
    fields = _beside(taken, fields)
    fields.update(own)
    return event, fields


def extra_fields(record: logging.LogRecord) -> list[tuple[str, Any]]:
    """Return what ``extra=``, a filter, an adapter or a record factory has added to a record."""
    attributes = record.__dict__
    found: list[tuple[str, Any]] = []
    # From behind: what was added comes after what every record has.
    for key in reversed(attributes):
        if key == _LAST and type(record) is logging.LogRecord:
            break
        if key not in STANDARD and key not in _MARKS:
            found.append((key, attributes[key]))
    found.reverse()
    return found


def message_of(record: logging.LogRecord, fields: dict[str, Any]) -> Any:
    """Return the event of a record, and put into the fields what belongs there.

    A mapping as message becomes fields; its own ``event`` or else ``message``, if that is a text,
    becomes the event. What formatting raises is named in the fields, beside the arguments.
    """
    message: Any = record.msg
    kind = type(record)
    if kind is WarningRecord:
        return message
    if not record.args:
        if type_of(message) is str and kind is logging.LogRecord:
            return message
        if issubclass(type_of(message), Mapping):
            return _take_apart(record, fields)
    try:
        return record.getMessage()
    except BaseException as error:
        if not isinstance(error, Exception) and came_from_outside(error):
            raise
        fields["positional_args"] = _plain_arguments(record.args)
        add_problem(fields, "formatting", error)
        return message


def _plain_arguments(args: Any) -> tuple[Any, ...]:
    """Return the arguments of a message as plain values: the encoder formats once more."""
    snapshot = Snapshot(DEFAULT_MAX_EVENT_BYTES)
    given = args if type_of(args) is tuple else (args,)
    return tuple(snapshot.value(argument) for argument in given)


def _take_apart(record: logging.LogRecord, fields: dict[str, Any]) -> Any:
    message: Any = record.msg
    try:
        items = as_dict(message)
    except Exception as error:
        add_problem(fields, "message", error)
        return f"<{name_of(type_of(message))}>"
    for key, value in items.items():
        fields[free_name(_text(key), fields)] = value
    for key in ("event", "message"):
        if type_of(fields.get(key)) is str:
            return fields.pop(key)
    return ""


def _text(key: Any) -> str:
    if type(key) is str:
        return key
    try:
        return str(key)
    except Exception as error:
        return f"<{describe(error)}>"


def _own_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record says of itself: its time, its place, its exception and stack."""
    own: dict[str, Any] = {}
    # read from the dict: whatever made the record may have left something out
    get: Callable[[str], Any] = record.__dict__.get
    if (created := timestamp(get("created"))) is not None:
        own["timestamp"] = created
    if (file := get("pathname")) and file not in _UNKNOWN:
        own["file"] = file
        own["line"] = get("lineno")
    if (function := get("funcName")) and function not in _UNKNOWN:
        own["function"] = function
    if (thread := get("threadName")) is not None:
        own["thread"] = thread
    if (pid := get("process")) is not None:
        own["pid"] = pid
    process = get("processName")
    if process is not None and process != _MAIN_PROCESS:
        own["process"] = process
    if (task := get("taskName")) is not None:
        own["task"] = task
    name: Any = get("levelname")
    if name not in _KNOWN_LEVELS and type_of(name) is str and name.upper() not in _KNOWN_LEVELS:
        own["level_"] = name
    if exc_info := get("exc_info"):
        own["exc_info"] = exc_info
    elif text := get("exc_text"):
        # of another process, which kept the exception itself
        own["exception"] = text
    if stack := get("stack_info"):
        own["stack_info"] = stack
    return own


def _beside(own: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields under names that leave the record's own alone."""
    if own.keys().isdisjoint(fields):
        return fields
    taken = {**fields, **own}
    result: dict[str, Any] = {}
    for key, value in fields.items():
        name = key
        if key in own:
            name = free_name(f"{key}_", taken)
            taken[name] = value
        result[name] = value
    return result
