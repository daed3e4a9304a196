"""All rings of a run: found in the spool, opened, found dead, drained, removed, counted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from .._complain import complain
from ..intake.ring import Ring, RingFormatError
from ..intake.spool import Spool
from .source import Source
from .stats import Tally

LIVENESS_INTERVAL: Final = 0.25
"""Seconds between looks whether the processes behind the rings are alive."""


class RingSet:
    """The rings that a collector drains.

    Args:
        spool: Where they lie.
        private: Rings in private memory of this process.
    """

    def __init__(self, spool: Spool, private: Sequence[Ring] = ()) -> None:
        self._spool = spool
        self._sources: dict[object, Source] = {id(ring): Source(ring) for ring in private}
        self._refused: set[object] = set()
        self._gone = Tally()
        self._seen_change = -2
        self._next_look = 0.0

    def __iter__(self) -> Iterator[Source]:
        return iter(list(self._sources.values()))

    def find(self) -> list[Source]:
        """Open the rings that have come since the last call; return them."""
        change = self._spool.changed()
        if change == self._seen_change:
            return []
        self._seen_change = change
        found: list[Source] = []
        for path in self._spool.rings():
            if path in self._sources or path in self._refused:
                continue
            try:
                ring = Ring.open(path)
            except FileNotFoundError:
                continue
            except (RingFormatError, OSError) as error:
                self._refused.add(path)
                complain(str(error))
                continue
            source = self._sources[path] = Source(ring)
            found.append(source)
        return found

    def add(self, ring: Ring, *, notes: bool = False) -> Source:
        """Add a ring that is mapped already."""
        source = self._sources[ring.path or id(ring)] = Source(ring, notes=notes)
        return source

    def end_private(self, ring: Ring) -> None:
        """Note that nothing more comes into a ring in private memory."""
        source = self._sources.get(id(ring))
        if source is not None:
            source.ended = True

    def look_after(self, *, now: bool = False) -> None:
        """Find out, now or when it is time, which rings have lost their process."""
        if now or time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LIVENESS_INTERVAL
            for source in self._sources.values():
                if not source.notes:
                    source.owner_is_gone()

    def bury(self) -> None:
        """Remove the rings of dead processes that are drained."""
        for key, source in list(self._sources.items()):
            # Its lock was tested before head is read here: nothing can come any more.
            if source.ended and source.cursor >= source.ring.head and source.drained():
                self._sources.pop(key)
                self._add(self._gone, source)
                if source.path is not None:
                    source.path.unlink(missing_ok=True)
                source.close()

    def alive(self) -> bool:
        """Say whether any process may still log."""
        return any(not source.ended and not source.notes for source in self._sources.values())

    def tally(self) -> Tally:
        """Return the counts over all rings so far; may be called from any thread."""
        tally = Tally(self._gone.accepted, self._gone.written, dropped=self._gone.dropped)
        for source in list(self._sources.values()):
            try:
                self._add(tally, source)
            except ValueError:
                # Closed at this moment by the collector: it is among the gone by now.
                continue
        return tally

    @staticmethod
    def _add(tally: Tally, source: Source) -> None:
        if source.notes:
            return
        tally.accepted += source.ring.accepted + sum(source.ring.dropped.values())
        waiting = source.waiting()
        tally.waiting += waiting
        if not source.ended:
            tally.open += waiting
        tally.written += source.ring.stored
        if source.quarantined:
            tally.dropped["quarantined"] += source.quarantined
        for (_, reason), count in source.ring.dropped.items():
            tally.dropped[reason] += count

    def close(self) -> None:
        """Unmap all rings; the files stay."""
        for source in self._sources.values():
            if source.path is not None:
                source.close()
        self._sources.clear()
