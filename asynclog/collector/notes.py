"""The collector's own records: what was dropped and why, through a small ring of its own."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any, Final

from .._json import dumps
from .._line.encoder import timestamp
from ..intake.overflow import Overflow
from ..intake.producer import Producer, make_producer
from ..intake.ring import Origin
from ..intake.spool import Spool
from .rings import RingSet
from .stats import Tally

INTERVAL: Final = 1.0
"""Seconds between two notes about the same kind of loss."""
RING_BYTES: Final = 64 * 1024
WARNING: Final = 30


class Notes:
    """Writes an ``asynclog.dropped`` record whenever more was lost.

    Args:
        spool: Where the ring for the notes is made, once there is something to note.
        rings: Gets that ring.
        origin: The collector's process.
    """

    def __init__(self, spool: Spool, rings: RingSet, origin: Origin) -> None:
        self._spool = spool
        self._rings = rings
        self._origin = origin
        self._said: dict[str, Counter[str]] = {}
        self._next = 0.0
        self._producer: Producer | None = None

    def dropped(self, tally: Tally, *, now: bool = False) -> None:
        """Note what was lost since the last note, now or when it is time."""
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        self._note("intake", tally.dropped)
        for name, report in tally.sinks.items():
            self._note(name, Counter(report.dropped))

    def _note(self, where: str, lost: Counter[str]) -> None:
        said = self._said.setdefault(where, Counter())
        more = lost - said
        if not more:
            return
        record: dict[str, Any] = {
            "timestamp": timestamp().decode(),
            "kind": "note",
            "level": "warning",
            "event": "asynclog.dropped",
            "logger": "asynclog",
            "where": where,
            "dropped": dict(more),
            "total": sum(lost.values()),
            "host": self._origin.host,
            "pid": os.getpid(),
        }
        if self._ring().put(dumps(record) + b"\n", WARNING):
            self._said[where] = Counter(lost)

    def _ring(self) -> Producer:
        if self._producer is None:
            producer = make_producer(Overflow(wait=False))
            ring = self._spool.create_ring(RING_BYTES, self._origin, producer.next_base)
            producer.attach(ring)
            self._rings.add(ring, notes=True)
            self._producer = producer
        return self._producer

    def end(self) -> None:
        """Accept no more notes."""
        if self._producer is not None:
            ring = self._producer.detach()
            for source in self._rings:
                if source.ring is ring:
                    source.ended = True
