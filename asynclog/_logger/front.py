"""Lines put together from parts: the beginning kept as bytes, the fields encoded in one go.

Handles what most records are, to the byte as the line encoder would, and leaves it the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .._json import codec, dumps
from .._levels import LEVELS, METHODS, level_name

if TYPE_CHECKING:
    from .outlet import Outlet

LINE_START: Final = b'{"timestamp":"'
LINE_END: Final = b"}\n"

ARRANGED: Final = frozenset(
    ("exc_info", "kind", "level", "logger", "positional_args", "stack_info", "timestamp")
)
"""Keys with a meaning besides the event: what has one of them needs a closer look."""
RESERVED: Final = ARRANGED | {"event"}
SCALARS: Final = frozenset((str, int, float, bool, type(None)))
"""Types whose values cannot change: bound context of these is encoded once."""

SHORT: Final = 512
"""Bytes up to which a line fits whatever ``max_event_bytes`` is."""
KEPT_TEXTS: Final = 512
"""Event texts kept for each level; when there are more, all are forgotten and it starts anew."""
KEPT_LENGTH: Final = 128
"""Characters of an event text that is kept: with all levels at most about half a megabyte."""
LONG: Final = 8192
"""Bytes up to which no value in a line can be one that has to be shortened."""
STAMP_LENGTH: Final = 40
_MISSING: Final = object()


def _plain_dumps() -> tuple[Callable[[Any, Any, int], bytes], int, int]:
    """Return a function that encodes plain fields, and options without and with a line end.

    With orjson it refuses whatever is no exact built-in type, but for what its result shows:
    ``null`` may be a NaN, brackets may be deep. Without orjson it shows that for everything.
    """
    if codec.name != "orjson":
        return lambda _value, _default, _options: b"{null}\n", 0, 0
    import orjson

    options = (
        orjson.OPT_PASSTHROUGH_SUBCLASS
        | orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
    )
    return orjson.dumps, options, options | orjson.OPT_APPEND_NEWLINE


plain_dumps, VALUE_OPTIONS, PLAIN_OPTIONS = _plain_dumps()

time_ns: Final = time.time_ns
MILLIS: Final = tuple(b"%03d" % number for number in range(1000))
MICROS: Final = tuple(b"%03dZ" % number for number in range(1000))


class Clock:
    """The beginning of a line up to the millisecond, kept as long as the millisecond lasts.

    Callers look at it themselves, because a function call would cost them a twentieth of a log
    call::

        start, front = clock.current
        micros = (time_ns() - start) // 1000
        if not 0 <= micros < 1000:
            micros, front = clock.turn()
        b"".join((front, MICROS[micros], ...))

    Attributes:
        current: Nanoseconds at the start of the millisecond, and ``b'{"timestamp":"...00.123'``.
            One tuple in one variable: another thread sees the old one or the new one.
    """

    __slots__ = ("_second", "_text", "current")

    def __init__(self) -> None:
        self.current = self._second = (0, b"")
        self._text: tuple[object, bytes] = (None, b"")

    def text(self) -> str:
        """Return the time as text, for an event dict."""
        start, front = self.current
        micros = (time_ns() - start) // 1000
        if not 0 <= micros < 1000:
            micros, front = self.turn()
        front += MICROS[micros]
        text = front[len(LINE_START) :].decode()
        self._text = (text, front)
        return text

    def front(self, given: Any) -> bytes:
        """Return the beginning of a line up to a time stamp that was given.

        Raises:
            ValueError: It is no time stamp.
        """
        text, front = self._text
        if given is text:
            return front
        if type(given) is not str or not given.isprintable() or len(given) > STAMP_LENGTH:
            raise ValueError("no time stamp")
        quoted = dumps(given)
        if len(quoted) != len(given) + 2:
            raise ValueError("no plain time stamp")
        return LINE_START + quoted[1:-1]

    def turn(self) -> tuple[int, bytes]:
        """Take the time; return the microseconds in its millisecond, and the beginning."""
        now = time_ns()
        start, front = self._second
        if not 0 <= now - start < 1_000_000_000:
            start = now - now % 1_000_000_000
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(start // 1_000_000_000))
            front = LINE_START + text.encode()
            self._second = (start, front)
        millis, rest = divmod(now - start, 1_000_000)
        front += MILLIS[millis]
        self.current = (now - rest, front)
        return rest // 1000, front


clock: Final = Clock()


class Level:
    """A level and the beginnings of its lines, from behind the time stamp up to the event.

    Attributes:
        name: Of the level, also of its logger method.
        number: Of the level.
        heads: Beginning by event text; always the same dict.
    """

    __slots__ = ("_start", "heads", "name", "number")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.heads: dict[Any, bytes] = {}
        self._start = f'","level":"{name}","event":'.encode()

    def head(self, event: object) -> bytes:
        """Return the beginning for an event text that is not known yet, and keep it.

        Raises:
            TypeError: The event is no text.
            ValueError: It cannot be encoded as it is.
        """
        if type(event) is not str:
            raise TypeError(event)
        head = self._start + dumps(event)
        if len(event) <= KEPT_LENGTH:
            if len(self.heads) >= KEPT_TEXTS:
                self.heads.clear()
            self.heads[event] = head
        return head


DEBUG, INFO, WARNING, ERROR, CRITICAL = (Level(*item) for item in LEVELS.items())
_BY_NAME: Final = {level.name: level for level in (DEBUG, INFO, WARNING, ERROR, CRITICAL)}
LEVEL_OF: Final = {name: _BY_NAME[level_name(number)] for name, number in METHODS.items()}
"""Level by name of a logger method, aliases included."""


def nearest_level(number: int) -> Level:
    """Return the nearest level at or below a number."""
    return _BY_NAME[level_name(number)]


def quick_line(record: dict[str, Any], level: Level, outlet: Outlet) -> bytes | None:
    """Return the line of an event dict, None if the line encoder has to make it.

    Args:
        record: The event dict, which is not to be used any more unless the result is None.
        level: Level of the record if it names none itself.
        outlet: Of the logger.
    """
    event = record.pop("event", _MISSING)
    try:
        # one by one: the more fields, the longer would a look at all of them take
        if not (
            "level" in record
            or "timestamp" in record
            or "logger" in record
            or "exc_info" in record
            or "stack_info" in record
            or "kind" in record
        ):
            fields = record
            start, front = clock.current
            micros = (time_ns() - start) // 1000
            if not 0 <= micros < 1000:
                micros, front = clock.turn()
            stamp = MICROS[micros]
        else:
            fields, stamp = record.copy(), b""
            level, front = arranged(fields, level, outlet)
        head = level.heads.get(event) or level.head(event)
        rest = plain_dumps(fields, None, PLAIN_OPTIONS).removeprefix(b"{")
        # 91 and 123 are brackets, and what is in them may be deep; null may be a NaN
        if not (91 in rest or 123 in rest or (108 in rest and rest.find(b"null") >= 0)):
            tail = outlet.tail if fields else outlet.tail[:-1]
            line = b"".join((front, stamp, head, tail, rest))
            if len(line) <= SHORT or fits(line, outlet):
                return line
    except Exception:
        # whatever it is, the line encoder knows what to do about it
        pass
    if event is not _MISSING:
        record["event"] = event
    return None


def fits(line: bytes, outlet: Outlet) -> bool:
    """Tell whether nothing in a line has to be shortened."""
    return len(line) <= min(LONG, outlet.encoder.max_event_bytes)


def arranged(fields: dict[str, Any], level: Level, outlet: Outlet) -> tuple[Level, bytes]:
    """Take what processors have set of the front of a line; return the level and that front.

    Raises:
        LookupError: The level is none.
        ValueError: The line encoder has to judge what else there is.
    """
    level = _BY_NAME[fields.pop("level", level.name)]
    given = fields.pop("timestamp", None)
    if fields.pop("logger", outlet.name) != outlet.name or not ARRANGED.isdisjoint(fields):
        raise ValueError("not plain")
    return level, clock.front(clock.text() if given is None else given)
