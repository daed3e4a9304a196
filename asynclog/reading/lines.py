"""One stored line: where it belongs in time, and the event in it. Knows no files.

Lines of ours begin with their time stamp, so that most are put in order without being parsed. Lines
of ExpMate, and those whose time stamp a processor has made, are understood as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast

from .._json import loads
from .._levels import METHODS, level_name

Line: TypeAlias = tuple[bytes, int | None, bytes]
"""When a line was made (26 characters of ISO 8601, UTC, which sort as text), its rank where the
file tells one, and its bytes without the line end."""

FIRST: Final = b""
"""Before all times."""
LAST: Final = b"\xff"
"""After all times."""

_FRONT: Final = b'{"timestamp":"'
_TIME: Final = slice(14, 40)
_AFTER_TIME: Final = slice(40, 42)
_OURS: Final = ("timestamp", "event", "message")


class NotARecordError(ValueError):
    """A line holds no event.

    Args:
        torn: Whether it is no JSON at all, as the rest of a line is that was cut; else it is JSON
            that somebody else has written.
    """

    def __init__(self, *, torn: bool) -> None:
        self.torn = torn
        super().__init__("torn" if torn else "foreign")


def split(raw: bytes, rank: int | None, before: bytes) -> list[Line]:
    """Return the lines in some bytes; what has no time stamp is put after the line before it.

    Args:
        raw: Whole lines.
        rank: Rank that the file tells, None when it tells none.
        before: Time of the line before these.
    """
    lines: list[Line] = []
    key = before
    for line in raw.split(b"\n"):
        if line[_AFTER_TIME] == b'Z"' and line.startswith(_FRONT):
            key = line[_TIME]
        elif not line:
            continue
        else:
            key = _slow_key(line) or key
        lines.append((key, rank, line))
    return lines


def time_of(line: bytes) -> bytes | None:
    """Return when a line was made, None when it does not say."""
    if line[_AFTER_TIME] == b'Z"' and line.startswith(_FRONT):
        return line[_TIME]
    return _slow_key(line)


def key_of(time: datetime) -> bytes:
    """Return a time as it compares with the times of lines; one without a zone is local."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}".encode()


def event_in(line: bytes) -> dict[str, Any]:
    """Return the event in a line, under the names that the schema has for its fields.

    Raises:
        NotARecordError: There is none.
    """
    try:
        found: object = loads(line)
    except ValueError:
        raise NotARecordError(torn=True) from None
    if not isinstance(found, dict):
        # the end of a line that was cut may be a number
        raise NotARecordError(torn=True)
    event = cast("dict[str, Any]", found)
    if type(event.get("timestamp")) is str and "event" in event:
        return event
    if not any(name in event for name in _OURS):
        raise NotARecordError(torn=False)
    return _renamed(event)


def _slow_key(line: bytes) -> bytes | None:
    try:
        found: object = loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    time = _time(cast("dict[str, Any]", found).get("timestamp"))
    return None if time is None else key_of(time)


def _time(value: object) -> datetime | None:
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _renamed(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of ExpMate, or one whose text or time stamp is missing, as ours are."""
    rest = dict(old)
    time = _time(rest.pop("timestamp", None))
    event: dict[str, Any] = {}
    if time is not None:
        event["timestamp"] = f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    if "section" in rest and "elapsed" in rest:
        event["kind"] = "timer"
        rest["timer"] = rest.pop("section")
    elif "stage_event" in rest:
        event["kind"] = "stage"
    level = str(rest.pop("level", "info")).strip().lower()
    event["level"] = level_name(METHODS[level]) if level in METHODS else "info"
    message = rest.pop("message", "")
    event["event"] = rest.pop("event", message)
    if rest.get("run_id") == "unknown":
        del rest["run_id"]
    return event | rest
