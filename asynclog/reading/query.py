"""Which events of a run are wanted: by level and kind from the bytes, by the rest when parsed."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final, TypedDict

from .._levels import LEVELS, parse_level
from ..exceptions import SettingError
from ..sinks.select import kind_of, level_of
from .expression import Test, compile_expression
from .lines import FIRST, LAST, Line, NotARecordError, event_in
from .times import When, parse_when

PLAIN: Final = "log"
"""Names the events that have no ``kind``: plain log events."""


class Filters(TypedDict, total=False):
    """What may be asked for; everything that is left out asks for nothing.

    Attributes:
        level: Lowest level.
        ranks: Ranks of a distributed job, a number or a container of numbers; what comes from
            no rank counts as rank 0.
        logger: Name of a logger; those below it are included (``"app"`` covers ``"app.db"``).
        kind: A kind or several, as in the line schema; ``"log"`` is a plain log event.
        since: Earliest time, see :func:`~asynclog.reading.times.parse_when`.
        until: Time before which the events were logged.
        where: Expression over the fields: ``status >= 500 and "/api" in path``.
        quiet: False leaves out what the console leaves out, such as metrics.
    """

    level: int | str | None
    ranks: int | Container[int] | None
    logger: str | None
    kind: str | Container[str] | None
    since: When | None
    until: When | None
    where: str | None
    quiet: bool


class Counts:
    """What a reading has come across so far.

    Attributes:
        lines: Lines that were looked at.
        torn: Lines that were no JSON, as a kill or a power cut leaves them.
        foreign: Lines that were JSON, and no records.
        late: Events that came after later ones: more lines lay between them than are put in order.
        gaps: Rotated files that were removed before they were read, or damaged.
    """

    __slots__ = ("foreign", "gaps", "late", "lines", "torn")

    def __init__(self) -> None:
        self.lines: int = 0
        self.torn: int = 0
        self.foreign: int = 0
        self.late: int = 0
        self.gaps: int = 0

    def __repr__(self) -> str:
        return f"Counts({', '.join(f'{name}={getattr(self, name)}' for name in self.__slots__)})"

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in sorted(self.__slots__)}


class Query:
    """Picks the events that were asked for.

    Args:
        filters: What was asked for.

    Attributes:
        since: Earliest time, as it compares with the times of lines.
        until: Time that is too late.

    Raises:
        SettingError: A filter breaks its rule.
    """

    def __init__(self, filters: Filters) -> None:
        level, kind = filters.get("level"), filters.get("kind")
        since, until = filters.get("since"), filters.get("until")
        ranks, where = filters.get("ranks"), filters.get("where")
        self.since: bytes = FIRST if since is None else parse_when(since, "since")
        self.until: bytes = LAST if until is None else parse_when(until, "until")
        if self.since > self.until:
            raise SettingError("until", "must be later than since", until)
        self._level = 0 if level is None else parse_level(level)
        self._marks = _level_marks(self._level)
        self._kinds: Container[str] | None = (kind,) if isinstance(kind, str) else kind
        self._ranks: Container[int] | None = (ranks,) if isinstance(ranks, int) else ranks
        self._logger = filters.get("logger")
        self._quiet = filters.get("quiet", True)
        self._where: Test | None = None if where is None else compile_expression(where)

    def may_hold(self, raw: bytes) -> bool:
        """Say whether some lines may hold an event that is wanted, without taking them apart."""
        return not self._marks or any(mark in raw for mark in self._marks)

    def select(self, line: Line, counts: Counts) -> dict[str, Any] | None:
        """Return the event of a line, None when it is not wanted or there is none."""
        key, rank, raw = line
        counts.lines += 1
        if not self.since <= key < self.until:
            return None
        ours = raw.startswith(b'{"timestamp":"') and raw.endswith(b"}")
        if ours and (
            (self._level and level_of(raw) < self._level)
            or (self._kinds is not None and (kind_of(raw) or PLAIN) not in self._kinds)
        ):
            return None
        try:
            event = event_in(raw)
        except NotARecordError as error:
            if error.torn:
                counts.torn += 1
            else:
                counts.foreign += 1
            return None
        if rank is not None:
            event.setdefault("rank", rank)
        return event if self._wants(event) else None

    def _wants(self, event: dict[str, Any]) -> bool:
        if self._level and LEVELS.get(event.get("level", "info"), 0) < self._level:
            return False
        if self._kinds is not None and event.get("kind", PLAIN) not in self._kinds:
            return False
        if not self._quiet and event.get("quiet") is True:
            return False
        if self._ranks is not None:
            rank: object = event.get("rank")
            if (rank if isinstance(rank, int) else 0) not in self._ranks:
                return False
        if self._logger is not None:
            name: object = event.get("logger")
            if not isinstance(name, str) or not (
                name == self._logger or name.startswith(f"{self._logger}.")
            ):
                return False
        return self._where is None or bool(self._where(event))


def _level_marks(lowest: int) -> tuple[bytes, ...]:
    """Return bytes of which every line of the level or above holds one; none for all levels.

    As we write levels, and as ExpMate and other programs do.
    """
    if lowest <= LEVELS["info"]:
        # nearly every line is of such a level
        return ()
    names = [name.encode() for name, number in LEVELS.items() if number >= lowest]
    marks = [b'"level":"%b"' % name for name in names]
    for spaced in (names, [name.upper() for name in names]):
        marks += [b'"level": "%b"' % name for name in spaced]
    return tuple(marks)
