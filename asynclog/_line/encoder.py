"""An event dict -> one line of JSON: order, names, length; the values are _snapshot's work.

No locks, no threads, no state but the current second: a line may be made in a signal handler, in
a finaliser and in a ``__repr__`` that is called while another line is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from .._json import dumps
from .._levels import LEVELS, level_name, level_number
from .._settings import DEFAULT_MAX_EVENT_BYTES, MIN_EVENT_BYTES
from ..exceptions import SettingError
from .arrival import Arrival
from .exception import current_exception, exception_to_dict, stack_to_dict
from .fit import fit, mark_truncated, put
from .plain import Plain, free_name, is_plain, type_of, without_surrogates
from .problem import PROBLEM_KEY
from .snapshot import Snapshot, as_dict
from .untrusted import failure, name_of

__all__ = [
    "RESERVED",
    "SCHEMA_VERSION",
    "Kind",
    "LineEncoder",
    "exception_to_dict",
    "make_timestamp",
    "timestamp",
]

SCHEMA_VERSION: Final = 1
"""Version of docs/reference/line-schema.md: goes up when a reader has to change."""
RESERVED: Final = frozenset(
    {"timestamp", "kind", "level", "event", "logger", "exc_info", "stack_info"}
)
"""Names with a meaning of their own: fields called so need the ordinary path."""

_ARRANGED: Final = RESERVED - {"event"}
_SCALARS: Final = frozenset({int, bool, type(None)})
_CONTAINERS: Final[frozenset[type[Any]]] = frozenset({dict, list, tuple})
# What is longer, or has more fields, is not handed to the JSON library to find out how long.
_SHORT_TEXT: Final = 8192
_FEW_FIELDS: Final = 256
_MAX_NAME: Final = 40
_SECOND: Final = 1_000_000_000
_MILLISECONDS: Final = tuple(b"%03d" % number for number in range(1000))
_MICROSECONDS: Final = tuple(b"%03dZ" % number for number in range(1000))


class Kind(str):
    """The kind of a record that is no plain log event, as value of ``"kind"``.

    A class of its own tells it from a user's field of that name.
    """

    __slots__ = ()


def make_timestamp(now: Callable[[], int] = time.time_ns) -> Callable[[], bytes]:
    """Return a function that gives the time as ``b"2026-01-31T12:00:00.123456Z"``.

    Args:
        now: Nanoseconds since 1970.
    """
    # One tuple in one variable: another thread sees the old second or the new one, never a mix.
    current = (0, b"1970-01-01T00:00:00.")

    def timestamp() -> bytes:
        nonlocal current
        start, prefix = current
        since = now() - start
        if not 0 <= since < _SECOND:
            second, rest = divmod(start + since, _SECOND)
            prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
            current = (second * _SECOND, prefix)
            since = rest
        since //= 1000
        return prefix + _MILLISECONDS[since // 1000] + _MICROSECONDS[since % 1000]

    return timestamp


timestamp: Final = make_timestamp()
"""The time as ``b"2026-01-31T12:00:00.123456Z"``, UTC."""


class LineEncoder:
    """Makes lines, see docs/reference/line-schema.md.

    Args:
        max_event_bytes: Longest line, its end included.
        exception_text: Add the classic traceback to exceptions: reads source files, and takes
            tens of microseconds per frame.
        clock: Gives the time of a line, as `timestamp` does.

    Attributes:
        max_event_bytes: As above; may be changed at any time.
        exception_text: As above; may be changed at any time.
        timestamp: The clock.
    """

    __slots__ = ("exception_text", "max_event_bytes", "timestamp")

    def __init__(
        self,
        *,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
        exception_text: bool = False,
        clock: Callable[[], bytes] | None = None,
    ) -> None:
        if max_event_bytes < MIN_EVENT_BYTES:
            rule = f"must be at least {MIN_EVENT_BYTES} bytes"
            raise SettingError("max_event_bytes", rule, max_event_bytes)
        self.max_event_bytes: int = max_event_bytes
        self.exception_text: bool = exception_text
        self.timestamp: Callable[[], bytes] = clock or timestamp

    def encode(
        self,
        event_dict: Mapping[str, Any],
        *,
        level: str,
        logger: str | None = None,
        arrival: Arrival | None = None,
    ) -> bytes:
        r"""Return the event as one line that ends in ``b"\n"``; never raises.

        The order is timestamp, [kind], level, event, [logger], then the fields as they come.

        Args:
            event_dict: The event; not changed. ``exc_info`` and ``stack_info`` become data.
            level: Level when the event dict names no known one.
            logger: Name of the logger.
            arrival: Takes numbers that are on a device; without it they are described only.
        """
        try:
            if type_of(event_dict) is not dict:
                event_dict = as_dict(event_dict)
            snapshot: Snapshot | None = None
            if _ARRANGED.isdisjoint(event_dict):
                record: dict[str, Any] = {
                    "timestamp": self.timestamp().decode(),
                    "level": level,
                    "event": "",
                }
                if logger is not None:
                    record["logger"] = logger
                record.update(event_dict)
            else:
                record, snapshot = self._arranged(event_dict, level, logger, arrival)
            if type_of(record["event"]) is not str:
                snapshot = snapshot or Snapshot(self.max_event_bytes, arrival)
                record["event"] = snapshot.text(record["event"])
            if len(record) > _FEW_FIELDS:
                return self._careful(record, snapshot or Snapshot(self.max_event_bytes, arrival))
            for name, value in record.items():
                kind = type_of(value)
                if kind is str:
                    if len(value) <= _SHORT_TEXT:
                        continue
                elif kind is float:
                    if value - value == 0.0:
                        continue
                elif kind in _SCALARS or (kind in _CONTAINERS and is_plain(value)):
                    continue
                snapshot = snapshot or Snapshot(self.max_event_bytes, arrival)
                record[name] = snapshot.value(value)
            if snapshot is not None and snapshot.cut:
                mark_truncated(record)
            try:
                line = dumps(record) + b"\n"
            except (TypeError, ValueError):
                # a lone surrogate, an integer of more than 64 bits, a key that is no str
                return self._careful(record, Snapshot(self.max_event_bytes, arrival))
            return line if len(line) <= self.max_event_bytes else fit(record, self.max_event_bytes)
        except Exception as error:
            try:
                return self._last_resort(event_dict, level, error)
            except Exception:
                # the call stack may be full: from here on nothing that is written in Python
                now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
                event = event_dict.get("event") if type_of(event_dict) is dict else None
                text = event[:100] if type_of(event) is str and event else ""
                record = {"timestamp": now, "level": level, "event": text, "truncated": True}
                try:
                    return dumps(record) + b"\n"
                except Exception:
                    return b'{"timestamp":"%b","level":"error","event":"","truncated":true}\n' % (
                        now.encode()
                    )

    def fields(self, mapping: dict[str, Any], taken: frozenset[str] = RESERVED) -> bytes | None:
        """Return fields as ``b'"a":1,"b":"x"'``, to be put between others in a line.

        Args:
            mapping: The fields; a dict, no subclass.
            taken: Names that the rest of the line has already.

        Returns:
            None when the event has to go through `encode` as a whole.
        """
        try:
            if taken.isdisjoint(mapping):
                for value in mapping.values():
                    kind = type_of(value)
                    if kind is str:
                        if len(value) > _SHORT_TEXT:
                            break
                    elif kind is float:
                        if value - value != 0.0:
                            break
                    elif kind is not int and kind is not bool and value is not None:
                        break
                else:
                    body = dumps(mapping)
                    return body[1:-1] if len(body) < self.max_event_bytes else None
                return self._copied_fields(mapping)
            return None
        except Exception:
            return None

    def _copied_fields(self, mapping: dict[str, Any]) -> bytes | None:
        """Do what `fields` does for values that are no short scalars."""
        if len(mapping) > _FEW_FIELDS:
            return None
        snapshot = Snapshot(self.max_event_bytes)
        fields = {
            name: value
            if type_of(value) in _CONTAINERS and is_plain(value)
            else snapshot.value(value)
            for name, value in mapping.items()
        }
        if snapshot.cut:
            return None
        body = dumps(fields)
        return body[1:-1] if len(body) < self.max_event_bytes else None

    def _arranged(
        self,
        event_dict: Mapping[str, Any],
        level: str,
        logger: str | None,
        arrival: Arrival | None,
    ) -> tuple[dict[str, Any], Snapshot | None]:
        """Bring an event dict that uses names with a meaning in order.

        A value that does not have that meaning stays in the line as ``name_``.
        """
        rest: dict[str, Any] = {**event_dict}
        moved: dict[str, Any] = {}
        record: dict[str, Any] = {}
        stamp = rest.pop("timestamp", None)
        if not _is_timestamp(stamp):
            if stamp is not None:
                moved["timestamp"] = stamp
            stamp = self.timestamp().decode()
        record["timestamp"] = stamp
        kind = rest.pop("kind", None)
        if type_of(kind) is Kind:
            record["kind"] = str.__str__(kind)
        elif kind is not None:
            moved["kind"] = kind
        given = rest.pop("level", None)
        known = _known_level(given)
        if known is None and given is not None:
            moved["level"] = given
        record["level"] = known or level
        record["event"] = rest.pop("event", "")
        name = rest.pop("logger", None)
        if logger is None and type_of(name) is str:
            logger = name
        elif name is not None and not (type_of(name) is str and name == logger):
            moved["logger"] = name
        if logger is not None:
            record["logger"] = logger
        exc_info, stack_info = rest.pop("exc_info", None), rest.pop("stack_info", None)
        record.update(rest)
        for key, value in moved.items():
            record[free_name(key + "_", record)] = value
        if exc_info is None and stack_info is None:
            return record, None
        snapshot = Snapshot(self.max_event_bytes, arrival)
        self._add_exception(record, exc_info, stack_info, snapshot)
        return record, snapshot

    def _add_exception(
        self, record: dict[str, Any], exc_info: Any, stack_info: Any, snapshot: Snapshot
    ) -> None:
        found = current_exception(exc_info)
        if found is not None:
            error, traceback = found
            try:
                data = exception_to_dict(
                    error, traceback, snapshot=snapshot, text=self.exception_text
                )
            except BaseException as failed:
                data = failure(type_of(error), failed)
            put(record, "exception", data)
        if type_of(stack_info) is str:  # the text that logging's records carry
            put(record, "stack", stack_info)
        elif stack_info is True:
            put(record, "stack", stack_to_dict(snapshot))

    def _careful(self, record: dict[str, Any], snapshot: Snapshot) -> bytes:
        """Return the line of a record that cannot be handed to the JSON library as it is."""
        plain = snapshot.fields(record)
        if snapshot.cut:
            mark_truncated(plain)
        line = dumps(plain) + b"\n"
        return line if len(line) <= self.max_event_bytes else fit(plain, self.max_event_bytes)

    def _last_resort(self, event_dict: Mapping[str, Any], level: str, error: Exception) -> bytes:
        """Return a line that keeps the event's text and names what went wrong."""
        try:
            event = event_dict.get("event")
        except Exception:
            event = None
        record: dict[str, Plain] = {
            "timestamp": self.timestamp().decode(),
            "level": level,
            "event": without_surrogates(event[:1000]) if type_of(event) is str and event else "",
            PROBLEM_KEY: name_of(type_of(error)),
            "truncated": True,
        }
        return fit(record, self.max_event_bytes)


def _is_timestamp(value: Any) -> bool:
    return (
        type_of(value) is str
        and len(value) <= _MAX_NAME
        and value.isascii()
        and value.isprintable()
        and '"' not in value
        and "\\" not in value
    )


def _known_level(value: Any) -> str | None:
    if type_of(value) is not str or len(value) > _MAX_NAME:
        return None
    if value in LEVELS:
        return value
    number = level_number(value.lower(), 0)
    return level_name(number) if number else None
