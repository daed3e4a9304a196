"""What becomes of a line in OpenTelemetry's data model of logs, whatever encodes it then.

https://opentelemetry.io/docs/specs/otel/logs/data-model/; names of attributes are those of the
semantic conventions, https://opentelemetry.io/docs/specs/semconv/registry/attributes/
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from textwrap import dedent
from typing import Any, Final, NamedTuple, cast

from ..traceback import render_traceback

SEVERITY: Final[Mapping[str, int]] = {
    "debug": 5,
    "info": 9,
    "warning": 13,
    "error": 17,
    "critical": 21,
}
"""SeverityNumber of each level: DEBUG, INFO, WARN, ERROR and FATAL."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_IDENTIFIERS: Final = {
    name: re.compile(pattern)
    for name, pattern in (
        ("trace_id", "(?!0{32})[0-9a-fA-F]{32}"),
        ("span_id", "(?!0{16})[0-9a-fA-F]{16}"),
        ("trace_flags", "[0-9a-fA-F]{2}"),
    )
}
_PLACE: Final = {
    "file": ("code.file.path", str),
    "line": ("code.line.number", int),
    "function": ("code.function.name", str),
    "thread": ("thread.name", str),
    "pid": ("process.pid", int),
}
_ELSEWHERE: Final = frozenset(("timestamp", "level", "event", "logger", "quiet"))


class LogRecord(NamedTuple):
    """One record, its values as they come from JSON.

    Attributes:
        host: Name of the machine that it names, empty when it names none.
        scope: Name of its logger, empty without one.
        time: When it was made, nanoseconds since 1970.
        severity: SeverityNumber.
        level: SeverityText.
        body: What was logged.
        attributes: All else, by name; no value is None.
        trace_id: 32 hexadecimal digits, or nothing.
        span_id: 16 hexadecimal digits, or nothing.
        flags: Trace flags.
    """

    host: str
    scope: str
    time: int
    severity: int
    level: str
    body: str
    attributes: dict[str, Any]
    trace_id: str
    span_id: str
    flags: int


def log_record(event: Mapping[str, Any]) -> LogRecord:
    """Return the record of a line."""
    ids: dict[str, str] = {}
    for name, pattern in _IDENTIFIERS.items():
        value = event.get(name)
        if isinstance(value, str) and pattern.fullmatch(value):
            ids[name] = value.lower()
    # what stands for a span has to name its trace as well
    if "trace_id" not in ids:
        ids.clear()
    # elsewhere it is a field like any other, of a request for instance
    ours = event.get("kind") == "note" or ("rank" in event and "pid" in event)
    host = event.get("host") if ours else None
    attributes: dict[str, Any] = {}
    for name, value in event.items():
        if name in _ELSEWHERE or name in ids or value is None or (ours and name == "host"):
            continue
        if name in _PLACE and type(value) is _PLACE[name][1]:
            attributes[_PLACE[name][0]] = value
        elif name == "exception":
            attributes |= _exception(event)
        elif name == "stack" and isinstance(value, (str, dict)):
            attributes["code.stacktrace"] = _traceback({"stack": value})
        else:
            attributes[name] = value
    level = str(event.get("level") or "info")
    return LogRecord(
        host=host if isinstance(host, str) else "",
        scope=str(event.get("logger") or ""),
        time=nanoseconds(event.get("timestamp")),
        severity=SEVERITY.get(level, SEVERITY["info"]),
        level=level,
        body=str(event.get("event", "")),
        attributes=attributes,
        trace_id=ids.get("trace_id", ""),
        span_id=ids.get("span_id", ""),
        flags=int(ids.get("trace_flags", "0"), 16),
    )


def nanoseconds(timestamp: object) -> int:
    """Return a time stamp in nanoseconds since 1970; now, when it is none."""
    try:
        moment = datetime.fromisoformat(cast("str", timestamp))
    except (TypeError, ValueError):
        return time.time_ns()
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND * 1000


def by_resource(records: Iterable[LogRecord]) -> dict[str, dict[str, list[LogRecord]]]:
    """Group records by host and scope, each group in order."""
    groups: dict[str, dict[str, list[LogRecord]]] = {}
    for record in records:
        groups.setdefault(record.host, {}).setdefault(record.scope, []).append(record)
    return groups


def _exception(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of an exception."""
    error: object = event["exception"]
    found: dict[str, str] = {}
    if isinstance(error, Mapping):
        data = cast("Mapping[str, Any]", error)
        for name in ("type", "message"):
            if value := data.get(name):
                found[f"exception.{name}"] = str(value)
    found["exception.stacktrace"] = _traceback({"exception": error})
    return found


def _traceback(event: Mapping[str, Any]) -> str:
    return dedent(render_traceback(event, "full"))
