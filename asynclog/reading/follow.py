"""The last events of a run and those that come after them, none of them skipped or doubled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self

from ..sinks.journal import DEFAULT_PIECE, Journal, Place
from .files import SLACK, backwards, with_slack
from .find import RunFiles
from .lines import FIRST, LAST, Line, split
from .query import Counts, Query
from .rings import look
from .snapshot import subtract, take

HOLD: Final = 0.25
"""Seconds for which what comes is held, so that the ranks of a job are put in order: a collector
looks at the ring of a quiet process four times a second."""
FILES_INTERVAL: Final = 0.1
"""Seconds between looks for new files; a look costs 0.2 ms."""
RINGS_INTERVAL: Final = 1.0
"""Seconds between looks for rings that nobody collects."""
SMALLEST_PIECE: Final = 16 * 1024
ROOM: Final = 16 << 20
"""Bytes that are read of the ends of all files together before any is read further."""

_TIME: Final = itemgetter(0)


class Tail:
    """The last events of a run, and what comes after them; made by :meth:`Events.tail`.

    Args:
        files: The run.
        query: What is wanted.
        counts: What is come across.
        count: How many of the events that are there.
        clock: Monotonic seconds.

    Attributes:
        last: The last events when it was made, in the order of their times.
    """

    def __init__(
        self,
        files: RunFiles,
        query: Query,
        counts: Counts,
        count: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._query = query
        self._counts = counts
        self._clock = clock
        snapshot = take(files)
        self._sets: dict[Path, int | None] = snapshot.files
        self._journals: dict[Path, Journal] = {
            path: Journal(path, snapshot.ends[path]) for path in snapshot.files
        }
        waiting = snapshot.lines()
        # lines that were taken from rings, and are yet to come to the files
        self._early: Counter[bytes] = Counter(line[2] for line in waiting)
        self._tails: dict[Path, int] = {ring.path: ring.tail for ring in snapshot.waiting}
        self._held: list[tuple[float, Line]] = []
        self._next_files = clock() + FILES_INTERVAL
        self._next_rings = clock() + RINGS_INTERVAL
        self.last: list[dict[str, Any]] = self._last(snapshot.ends, waiting, count)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the last events, and then those that come, without end."""
        yield from self.last
        while True:
            found = self.more()
            yield from found
            if not found:
                time.sleep(HOLD / 4)

    def more(self) -> list[dict[str, Any]]:
        """Return what has come since, in the order of times; waits for nothing.

        Events come out a quarter of a second after they are in the files.

        Raises:
            OSError: A file cannot be read; nothing is lost by it.
        """
        now = self._clock()
        if now >= self._next_files:
            self._next_files = now + FILES_INTERVAL
            self._look_for_files()
        if now >= self._next_rings:
            self._next_rings = now + RINGS_INTERVAL
            self._look_at_rings(now)
        reached = LAST
        for path, journal in self._journals.items():
            if raw := journal.read():
                lines = split(raw, self._sets[path], FIRST)
                self._take(lines, now)
                if len(raw) >= DEFAULT_PIECE // 2:
                    # there is more in this file: what is later than this has to wait for it
                    reached = min(reached, lines[-1][0])
            self._counts.gaps, journal.gaps = self._counts.gaps + journal.gaps, 0
        return self._released(now, reached)

    def close(self) -> None:
        """Close the files."""
        for journal in self._journals.values():
            journal.close()

    def _take(self, lines: list[Line], now: float) -> None:
        early = self._early
        for line in lines:
            if early and early[line[2]] > 0:
                early[line[2]] -= 1
            else:
                self._held.append((now, line))

    def _released(self, now: float, reached: bytes) -> list[dict[str, Any]]:
        """Return what was held long enough, and what is earlier than that.

        Args:
            now: The time.
            reached: Up to when all files are read.
        """
        held = (line[0] for came, line in self._held if came <= now - HOLD)
        latest = min(max(held, default=FIRST), reached)
        if latest == FIRST:
            return []
        ready = [line for _, line in self._held if line[0] <= latest]
        self._held = [held for held in self._held if held[1][0] > latest]
        ready.sort(key=_TIME)
        selected = (self._query.select(line, self._counts) for line in ready)
        return [event for event in selected if event is not None]

    def _look_for_files(self) -> None:
        for path, rank in self._files.find().items():
            if path not in self._journals:
                self._sets[path] = rank
                self._journals[path] = Journal(path)

    def _look_at_rings(self, now: float) -> None:
        tails: dict[Path, int] = {}
        for ring in look(self._files.spool, self._journals):
            tails[ring.path] = ring.tail
            if ring.lines and self._tails.get(ring.path) == ring.tail:
                # nobody has collected anything of it for a while
                fresh = subtract(ring, self._early.copy()).lines
                self._early.update(line[2] for line in fresh)
                self._held += [(now, line) for line in fresh]
        self._tails = tails
        self._early = +self._early

    def _last(
        self, ends: dict[Path, Place], waiting: list[Line], count: int
    ) -> list[dict[str, Any]]:
        """Return the last events of a snapshot; reads each file from its end, as far as needed."""
        found = self._selected(waiting)[-count:] if count else []
        size = max(SMALLEST_PIECE, min(DEFAULT_PIECE, ROOM // max(1, len(ends))))
        since = with_slack(self._query.since, -SLACK)
        for path, end in ends.items() if count else ():
            of_file: list[list[tuple[bytes, dict[str, Any]]]] = []
            for raw in backwards(path, end, size):
                lines: list[Line] = []
                if self._query.may_hold(raw):
                    lines = split(raw, self._sets[path], FIRST)
                    of_file.append(self._selected(lines))
                if sum(map(len, of_file)) >= count or (lines and max(lines)[0] < since):
                    break
            # in the order of the file, for events of one moment
            found += [event for events in reversed(of_file) for event in events]
        found.sort(key=_TIME)
        return [event for _, event in found[len(found) - min(count, len(found)) :]]

    def _selected(self, lines: list[Line]) -> list[tuple[bytes, dict[str, Any]]]:
        selected = ((line[0], self._query.select(line, self._counts)) for line in lines)
        return [(key, event) for key, event in selected if event is not None]
