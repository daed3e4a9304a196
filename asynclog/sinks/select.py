"""Which lines of a batch a sink gets: by level and kind from the raw bytes, by filter when parsed.

A line starts with its time stamp, its kind where it has one, and its level, in this order, so that
nothing has to be parsed to look at them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from .._complain import complain
from .._json import loads
from .._levels import INFO, LEVELS, parse_level
from ..typing import Batch

Filter: TypeAlias = Callable[[Mapping[str, Any]], bool]
"""Takes an event, to be read only, and says whether the sink gets it."""

QUIET: Final = b'"quiet":true'
"""Mark of a line that stays off the console; inside a text its quotes would be escaped."""

# timestamp of the usual length, then the level: one slice and one look-up a line
_FRONT: Final = slice(43, 56)
_BY_FRONT: Final = {b'"level":"%b' % name.encode()[:4]: level for name, level in LEVELS.items()}
_HEAD: Final = re.compile(
    rb'\{"timestamp":"(?:[^"\\]|\\.)*",(?:"kind":"([^"\\]*)",)?(?:"level":"([a-z]+)")?'
)
_BY_NAME: Final = {name.encode(): level for name, level in LEVELS.items()}


def level_of(line: bytes) -> int:
    """Return the level of a line as a number; a line without one counts as info."""
    level = _BY_FRONT.get(line[_FRONT])
    if level is None:
        head = _HEAD.match(line)
        level = _BY_NAME.get(head[2], INFO) if head else INFO
    return level


def kind_of(line: bytes) -> str | None:
    """Return the kind of a line, None for an ordinary event."""
    if line[_FRONT] in _BY_FRONT:
        return None
    head = _HEAD.match(line)
    return head[1].decode() if head and head[1] is not None else None


def is_flat(line: bytes) -> bool:
    """Say whether a line has its keys at the top only: then they can be told by its bytes.

    Inside a text their quotes would be escaped.
    """
    return line.count(b"{") == 1


class Selector:
    """Picks from batches what a sink gets.

    Args:
        level: Lowest level, as a number; None for all.
        filter: Asked about every event that has the level; one that raises keeps the event. It
            costs the parsing of every such line (1 us), unless another sink parses them anyway.
    """

    def __init__(self, level: int | None = None, filter: Filter | None = None) -> None:
        self._level = level or 0
        self._filter = filter

    @classmethod
    def of(cls, level: int | str | None, filter: Filter | None) -> Selector:
        """Return the selector that a sink's settings ask for."""
        return cls(None if level is None else parse_level(level), filter)

    def lines(self, batch: Batch) -> list[bytes]:
        """Return the lines that the sink gets, without line ends."""
        lines = batch.lines
        if self._level > 0:
            level = self._level
            lines = [line for line in lines if level_of(line) >= level]
        if self._filter is None:
            return lines
        parsed = batch.events if len(lines) == len(batch) else []
        events = parsed if len(parsed) == len(lines) else map(parse, lines)
        return [line for line, event in zip(lines, events, strict=True) if self._wanted(event)]

    def raw(self, batch: Batch) -> bytes:
        """Return the lines that the sink gets as bytes, with line ends."""
        if not self._level and self._filter is None:
            return batch.raw
        lines = self.lines(batch)
        return b"\n".join([*lines, b""])

    def events(self, batch: Batch) -> list[dict[str, Any]]:
        """Return the events that the sink gets; to be read, not changed."""
        if not self._level and self._filter is None:
            return batch.events
        return [parse(line) for line in self.lines(batch)]

    def _wanted(self, event: Mapping[str, Any]) -> bool:
        assert self._filter is not None
        try:
            return bool(self._filter(event))
        except Exception as error:
            # better a line too many than one too few
            complain(
                f"filter of a sink raised, the line is kept: {type(error).__name__}: {error}",
                kind="filter",
            )
            return True


def parse(line: bytes) -> dict[str, Any]:
    """Return a line's event; what is no JSON object becomes the text of one."""
    try:
        event: object = loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict):
        return cast(dict[str, Any], event)
    return {"event": line.decode(errors="replace")}
