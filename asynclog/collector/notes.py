"""The collector's own records, through a small ring of its own: what was dropped, the counters."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from .._json import dumps
from .._line.encoder import timestamp
from ..intake.overflow import Overflow
from ..intake.producer import Producer, make_producer
from ..intake.ring import Life, Origin
from ..intake.spool import Spool
from ..sinks.backend import DIED
from .rings import RingSet
from .tally import Tally

INTERVAL: Final = 1.0
"""Seconds between two notes about the same kind of loss."""
RING_BYTES: Final = 64 * 1024
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40


class Notes:
    """Writes an ``asynclog.dropped`` record whenever more was lost, and the counters if asked to.

    Args:
        spool: Where the ring for the notes is made, once there is something to note.
        rings: Gets that ring.
        origin: The collector's process.
        stats_interval: Seconds between two ``asynclog.stats`` records, None for none at all.
        deaths: Whether a sink wants to know which process has died.
    """

    def __init__(
        self,
        spool: Spool,
        rings: RingSet,
        origin: Origin,
        stats_interval: float | None = None,
        *,
        deaths: bool = False,
    ) -> None:
        self._spool = spool
        self._rings = rings
        self._origin = origin
        self._said: dict[str, Counter[str]] = {}
        self._next = 0.0
        self._stats_interval = stats_interval
        self._next_stats = time.monotonic() + (stats_interval or 0.0)
        self._deaths = deaths
        self._producer: Producer | None = None
        self._ended = False

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
        fields = {"where": where, "dropped": dict(more), "total": sum(lost.values())}
        if self._put("asynclog.dropped", "warning", WARNING, fields):
            self._said[where] = Counter(lost)

    def stats(self, tally: Tally, *, now: bool = False) -> None:
        """Note the counters, now or when it is time, if that is wanted."""
        interval = self._stats_interval
        if interval is None or not (now or time.monotonic() >= self._next_stats):
            return
        self._next_stats = time.monotonic() + interval
        fields: dict[str, Any] = {
            "accepted": tally.accepted,
            "written": tally.written,
            "dropped": dict(tally.dropped),
            "waiting": tally.waiting,
            "sinks": {name: sink._asdict() for name, sink in tally.sinks.items()},
            "rings": tally.rings,
            "ring_bytes": tally.ring_bytes,
            "ring_used": tally.ring_used,
            "ring_peak": round(tally.ring_peak, 4),
            "quiet": True,
        }
        self._put("asynclog.stats", "info", INFO, fields)

    def died(self, process: Origin, life: Life) -> None:
        """Note that a process is gone that has not said that it would end, or has said why."""
        if not self._deaths or self._ended:
            return
        fields: dict[str, Any] = {
            DIED: "failed" if life is Life.FAILED else "killed",
            "rank": process.rank,
            "local_rank": process.local_rank,
            "host": process.host,
            "pid": process.pid,
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        self._put("asynclog.died", "error", ERROR, fields)

    def note(self, record: Mapping[str, Any]) -> None:
        """Put a note that somebody else has made into the run."""
        record = {**record, "host": self._origin.host, "pid": os.getpid()}
        number = INFO if record["level"] == "info" else WARNING
        self._ring().put(dumps(record) + b"\n", number)

    def _put(self, event: str, level: str, number: int, fields: dict[str, Any]) -> bool:
        record: dict[str, Any] = {
            "timestamp": timestamp().decode(),
            "kind": "note",
            "level": level,
            "event": event,
            "logger": "asynclog",
            "host": self._origin.host,
            "pid": os.getpid(),
            **fields,
        }
        return self._ring().put(dumps(record) + b"\n", number)

    def _ring(self) -> Producer:
        if self._producer is None:
            producer = make_producer(Overflow(wait=False))
            ring = self._spool.create_ring(RING_BYTES, self._origin, producer.next_base)
            ring.notes = True
            producer.attach(ring)
            self._rings.add(ring, notes=True)
            self._producer = producer
        return self._producer

    def end(self) -> None:
        """Accept no more notes."""
        self._ended = True
        if self._producer is not None:
            ring = self._producer.detach()
            for source in self._rings:
                if source.ring is ring:
                    source.ended = True
