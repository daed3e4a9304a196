"""The log lines that a page shows: of each level the first and the last ones, as text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from textwrap import dedent
from typing import Any, Final, NamedTuple

from ..sinks.escape import escape
from ..sinks.render import local_time, render_line
from ..sinks.traceback import has_traceback, render_traceback
from .activity import LEVELS
from .text import cut

MAX_LINES: Final = 2_000
"""Lines of each level on a page: the first ones, a tenth, and the last ones."""
MAX_CHARACTERS: Final = 6_000_000
"""Of all lines on a page; where there would be more, long ones are cut shorter."""
MAX_TEXT: Final = 2_000
"""Characters of a line that are shown."""
MAX_DETAIL: Final = 20_000
"""Characters of a traceback that are shown."""
# shown in columns of their own, or on every line the same
_ELSEWHERE: Final = frozenset(("rank", "local_rank", "world_size", "host", "pid", "logger"))


class Line(NamedTuple):
    """One line as text; control characters are spelled out, nothing is escaped for HTML.

    Attributes:
        time: In seconds since 1970.
        level: One of :data:`~asynclog.report.activity.LEVELS`.
        rank: None outside a distributed job.
        logger: Empty where it has none.
        kind: Empty for plain log events.
        text: What was logged.
        fields: The fields, ``key=value``.
        detail: Traceback, empty without one.
    """

    time: float
    level: str
    rank: int | None
    logger: str
    kind: str
    text: str
    fields: str
    detail: str


class Lines:
    """Keeps the lines of a run that are shown.

    Args:
        limit: How many of each level.
    """

    def __init__(self, limit: int = MAX_LINES) -> None:
        self.left_out: int = 0
        self._most_first = limit // 10
        self._most_last = limit - limit // 10
        self._first: dict[str, list[tuple[float, Mapping[str, Any]]]] = {
            level: [] for level in LEVELS
        }
        self._last: dict[str, deque[tuple[float, Mapping[str, Any]]]] = {
            level: deque() for level in LEVELS
        }

    def note(self, record: Mapping[str, Any], time: float, level: str) -> None:
        """Take in a record."""
        if len(self._first[level]) < self._most_first:
            self._first[level].append((time, _slim(record)))
            return
        last = self._last[level]
        last.append((time, _slim(record)))
        if len(last) > self._most_last:
            last.popleft()
            self.left_out += 1

    def __iter__(self) -> Iterator[Line]:
        """Yield the lines that were kept, in the order of their times."""
        kept = [
            (time, level, record)
            for held in (self._first, self._last)
            for level, records in held.items()
            for time, record in records
        ]
        kept.sort(key=lambda entry: entry[0])
        for time, level, record in kept:
            yield as_line(record, time, level)


def fit(lines: Sequence[Line]) -> list[Line]:
    """Return lines that are short enough for all of them to have a place on a page."""
    limit = MAX_DETAIL
    while (
        sum(
            min(len(text), limit)
            for line in lines
            for text in (line.text, line.fields, line.detail)
        )
        > MAX_CHARACTERS
        and limit > 100
    ):
        limit //= 2
    return [
        line._replace(
            text=cut(line.text, limit),
            fields=cut(line.fields, limit),
            detail=cut(line.detail, limit),
        )
        for line in lines
    ]


def as_line(record: Mapping[str, Any], time: float, level: str) -> Line:
    """Return a record as a line of the page."""
    rank, logger, kind = (record.get(key) for key in ("rank", "logger", "kind"))
    shown = {key: value for key, value in record.items() if key not in _ELSEWHERE}
    front = f"{local_time(record.get('timestamp', ''))} - {_label(record)} - "
    text = render_line(shown).removeprefix(front)
    event = record.get("event")
    fields = ""
    if isinstance(event, str) and text.startswith(begin := escape(event)):
        text, fields = begin, text[len(begin) :].strip()
    return Line(
        time,
        level,
        rank if isinstance(rank, int) else None,
        cut(escape(str(logger)), MAX_TEXT) if logger else "",
        escape(str(kind)) if kind else "",
        cut(text, MAX_TEXT),
        cut(fields, MAX_TEXT),
        cut(dedent(render_traceback(record, "full")), MAX_DETAIL) if has_traceback(record) else "",
    )


def _label(record: Mapping[str, Any]) -> str:
    return escape(str(record.get("level", "info"))).upper()


def _slim(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record without what is too long to be shown, so that it takes little memory."""
    if all(type(value) is not str or len(value) <= MAX_TEXT for value in record.values()):
        return record
    return {
        key: cut(value, MAX_TEXT) if type(value) is str and key != "stack" else value
        for key, value in record.items()
    }
