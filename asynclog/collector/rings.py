"""All rings of a run: found in the spool, opened, found dead, drained, removed, counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from .._complain import complain
from ..intake.dump import collect_dumps
from ..intake.ring import Life, Origin, Ring, RingFormatError
from ..intake.spool import Spool
from .source import Source
from .tally import Tally

LIVENESS_INTERVAL: Final = 0.25
"""Seconds between looks whether the processes behind the rings are alive."""


class RingSet:
    """The rings that a collector drains.

    Args:
        spool: Where they lie.
        private: Rings in private memory of this process.
        before: What an earlier collector has counted.
    """

    def __init__(
        self, spool: Spool, private: Sequence[Ring] = (), before: Tally | None = None
    ) -> None:
        self._spool = spool
        # The rings, and what was counted in those that are gone. One pair, exchanged as a whole:
        # whoever counts in another thread misses no ring and takes none twice.
        self._state: tuple[dict[object, Source], Tally] = (
            {id(ring): Source(ring) for ring in private},
            Tally() if before is None else _gone(before, spool),
        )
        self._refused: set[object] = set()
        self._seen_change = -2
        self._next_look = 0.0

    @property
    def _sources(self) -> dict[object, Source]:
        return self._state[0]

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
                source = Source.open(path)
            except FileNotFoundError:
                continue
            except (RingFormatError, OSError) as error:
                self._refused.add(path)
                complain(str(error))
                continue
            self._sources[path] = source
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
            if collect_dumps(self._spool):
                self.find()
                for source in self._sources.values():
                    if not source.notes:
                        source.owner_is_gone()

    def deaths(self) -> list[tuple[Origin, Life]]:
        """Return, once each, the processes that ended badly and whose last line is stored."""
        found: list[tuple[Origin, Life]] = []
        for source in self._sources.values():
            if source.ended and not source.told and source.drained():
                source.told = True
                life = source.ring.life
                if life in (Life.RUNNING, Life.FAILED):
                    found.append((source.ring.origin, life))
        return found

    def bury(self, publish: Callable[[], None]) -> None:
        """Remove the rings of dead processes that are drained.

        Args:
            publish: Tells a next collector of the counts, in which those of the rings are, before
                they are removed.
        """
        done = [
            key
            for key, source in self._sources.items()
            # Its lock was tested before head is read here: nothing can come any more.
            if source.ended and source.cursor >= source.ring.head and source.drained()
        ]
        if done:
            publish()
        for source in self._forget(done):
            if source.path is not None:
                source.path.unlink(missing_ok=True)
            source.close()

    def alive(self) -> bool:
        """Say whether any process may still log."""
        return any(not source.ended and not source.notes for source in self._sources.values())

    def tally(self) -> Tally:
        """Return the counts over all rings so far; may be called from any thread."""
        while True:
            sources, gone = self._state
            tally = gone.copy()
            tally.gone = gone
            for source in list(sources.values()):
                try:
                    part = _count(source)
                except ValueError:
                    # Closed at this moment; if by the collector, it is among the gone by now.
                    if self._state[1] is not gone:
                        break
                else:
                    tally.add(part)
                    if source.path is not None and part.rings:
                        tally.parts[source.path.name] = part
            else:
                return tally

    def _forget(self, keys: Sequence[object]) -> list[Source]:
        """Count rings as gone; return what has to be closed."""
        if not keys:
            return []
        sources, gone = dict(self._sources), self._state[1].copy()
        forgotten = [sources.pop(key) for key in keys]
        for source in forgotten:
            # One in private memory may be closed by now, when we had no time to drain it.
            with suppress(ValueError):
                gone.add(_count(source).remembered())
        self._state = sources, gone
        return forgotten

    def close(self) -> None:
        """Unmap all rings; the files stay."""
        for source in self._forget(list(self._sources)):
            if source.path is not None:
                source.close()


def _count(source: Source) -> Tally:
    """Count what a ring knows of itself, and what is known of its process.

    Raises:
        ValueError: It is closed.
    """
    if source.ring.notes:
        return Tally()
    tally = Tally.of(source.ring)
    tally.waiting = source.waiting()
    tally.open = 0 if source.ended else tally.waiting
    if source.quarantined:
        tally.dropped["quarantined"] += source.quarantined
    return tally


def _gone(before: Tally, spool: Spool) -> Tally:
    """Return what an earlier collector has counted in rings that do not exist any more."""
    gone = Tally() if before.gone is None else before.gone.copy()
    there = {path.name for path in spool.rings()}
    for name, part in before.parts.items():
        if name not in there:
            # what was left in it will not be written any more
            part.open = 0
            gone.add(part.remembered())
    return gone
