"""Lines that several ranks print at about the same time, shown once: ``[ranks 0-7] ...``.

Only lines whose text is the same to the last character: numbers that differ are never swallowed.
The lines of each rank stay in their order.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .ranks import spelled

WINDOW: Final = 0.25
"""Seconds for which a line waits for the same one from other ranks."""
MAX_WAITING: Final = 1000
"""Lines that wait at most."""


class Shown(NamedTuple):
    """A line to show.

    Attributes:
        stream: Number of the standard stream.
        text: Without its end.
    """

    stream: int
    text: str


class _Group:
    __slots__ = ("at", "ranks", "since", "stream", "text")

    def __init__(self, at: int, since: float, stream: int, text: str, rank: int) -> None:
        self.at = at
        self.since = since
        self.stream = stream
        self.text = text
        self.ranks = {rank}


class Collapse:
    """Holds lines for a short while.

    Args:
        window: Seconds.
    """

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._groups: dict[int, _Group] = {}
        self._by_text: dict[tuple[int, str], _Group] = {}
        self._last: dict[int, int] = {}
        self._count = 0

    @property
    def waiting(self) -> bool:
        """Whether a line is held."""
        return bool(self._groups)

    def add(self, rank: int, stream: int, text: str, now: float) -> None:
        """Take a line of a rank."""
        group = self._by_text.get((stream, text))
        # not the second time from this rank, and not before a line that it printed earlier
        if group is not None and self._last.get(rank, -1) < group.at:
            group.ranks.add(rank)
        else:
            self._count += 1
            group = _Group(self._count, now, stream, text, rank)
            self._groups[group.at] = self._by_text[stream, text] = group
        self._last[rank] = group.at

    def due(self, now: float) -> list[Shown]:
        """Return the lines that have waited long enough; infinity for all."""
        lines: list[Shown] = []
        for at, group in list(self._groups.items()):
            if group.since + self._window > now and len(self._groups) <= MAX_WAITING:
                break
            del self._groups[at]
            if self._by_text.get((group.stream, group.text)) is group:
                del self._by_text[group.stream, group.text]
            front = f"[{spelled(group.ranks)}] "
            text = "\n".join(f"{front}{line}" for line in group.text.split("\n"))
            lines.append(Shown(group.stream, text))
        return lines
