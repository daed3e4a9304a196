"""What makes the default chain fast: beginnings of lines kept as bytes, and what rules them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ._json import codec, dumps
from ._levels import LEVELS, level_name

RESERVED: Final = frozenset(
    ("event", "exc_info", "kind", "level", "logger", "positional_args", "stack_info", "timestamp")
)
"""Keys that mean something: a record with one among its fields takes the ordinary path."""
SCALARS: Final = frozenset((str, int, float, bool, type(None)))
"""Types whose values cannot change: bound context of these is encoded once."""

SHORT: Final = 512
"""Bytes up to which a line fits whatever ``max_event_bytes`` is, and no value is too long."""
KEPT_TEXTS: Final = 512
"""Event texts kept for each level; when there are more, all are forgotten and it starts anew."""
KEPT_LENGTH: Final = 128
"""Characters of an event text that is kept: with all levels at most about half a megabyte."""


def _plain_dumps() -> tuple[Callable[[Any, Any, int], bytes], int]:
    """Return a function that encodes plain fields, and the options to call it with.

    With orjson it refuses whatever is no exact built-in type, but for what its result shows:
    ``null`` may be a NaN, brackets may be deep. Without orjson it shows that for everything.
    """
    if codec.name != "orjson":
        return lambda _value, _default, _options: b"null", 0
    import orjson

    return orjson.dumps, (
        orjson.OPT_PASSTHROUGH_SUBCLASS
        | orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
        | orjson.OPT_APPEND_NEWLINE
    )


plain_dumps, PLAIN_OPTIONS = _plain_dumps()


class LevelHead:
    """A level and the beginnings of its lines, from behind the time stamp up to the event.

    Attributes:
        name: Of the level, also of its logger method.
        number: Of the level.
        heads: Beginning by event text.
    """

    __slots__ = ("_start", "heads", "name", "number")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.heads: dict[str, bytes] = {}
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


DEBUG, INFO, WARNING, ERROR, CRITICAL = (LevelHead(*item) for item in LEVELS.items())
_BY_NAME = {head.name: head for head in (DEBUG, INFO, WARNING, ERROR, CRITICAL)}


def level_head(number: int) -> LevelHead:
    """Return the nearest level at or below a number."""
    return _BY_NAME[level_name(number)]
