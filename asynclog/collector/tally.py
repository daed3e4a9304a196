"""The collector's own counts: summed over rings, published, and turned into reports.

Apart from :mod:`.stats`, because a program that only imports asynclog needs none of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..intake.flush import FlushRequest
from .stats import Report, SinkReport, SinkStats, Stats

if TYPE_CHECKING:
    from ..intake.ring import Ring


@dataclass(slots=True)
class Tally:
    """Counts of the collector, summed over all rings it has seen.

    Attributes:
        accepted: Log calls that passed their level.
        written: Lines stored.
        waiting: Lines in rings.
        open: Those of them that are in rings of living processes.
        dropped: Lines or calls lost, by reason.
        sinks: How the sinks are doing.
        rings: Rings.
        ring_bytes: Bytes of them.
        ring_used: Bytes in use.
        ring_peak: Largest share of any ring that was ever in use.
        pid: The collector's process.
        heartbeat: When it went its round last, in seconds since 1970.
        last_write: When the durable file was last written, in seconds since 1970.
        parts: The part of the counts that is in each ring, by the name of its file.
        gone: The part of the counts that is in no ring any more: a next collector begins with it.
    """

    accepted: int = 0
    written: int = 0
    waiting: int = 0
    open: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    sinks: dict[str, SinkStats] = field(default_factory=dict[str, SinkStats])
    rings: int = 0
    ring_bytes: int = 0
    ring_used: int = 0
    ring_peak: float = 0.0
    pid: int | None = None
    heartbeat: float | None = None
    last_write: float | None = None
    parts: dict[str, Tally] = field(default_factory=dict[str, "Tally"])
    gone: Tally | None = None

    @classmethod
    def of(cls, ring: Ring) -> Tally:
        """Count what one ring knows of itself.

        Raises:
            ValueError: It is closed.
        """
        lost = ring.dropped
        written = ring.stored
        accepted = ring.accepted
        tally = cls(
            accepted=accepted + sum(lost.values()),
            written=written,
            waiting=max(0, accepted - written),
            rings=1,
            ring_bytes=ring.size,
            ring_used=ring.used,
            ring_peak=ring.peak,
        )
        for (_, reason), count in lost.items():
            tally.dropped[reason] += count
        return tally

    def catch_up(self, ring: Tally) -> None:
        """Take in what was logged after a collector that stands still counted the last time.

        Args:
            ring: What the ring of this process knows of itself.
        """
        missed = ring.accepted - self.accepted
        if missed > 0:
            lost = ring.dropped - self.dropped
            if lost.total() <= missed:
                self.dropped += lost
                self.waiting -= lost.total()
            self.accepted += missed
            self.waiting += missed

    def settle(self, report: Report) -> None:
        """Take for written what waited before the end, but for what the report says is not."""
        left = min(self.waiting, report.dropped.get("unwritten", 0))
        self.written += self.waiting - left
        self.waiting = left

    def report(self, run_dir: Path) -> Report:
        """Say how the run ended; what living processes still have in their rings is left out."""
        return Report(
            accepted=self.accepted - self.open,
            written=self.written,
            dropped=self._dropped_at_the_end(),
            sinks={name: SinkReport(s.written, dict(s.dropped)) for name, s in self.sinks.items()},
            run_dir=run_dir,
        )

    def last_stats(self, before: Stats) -> Stats:
        """Return the counters after the end: no ring, and nobody collects for us."""
        return before._replace(
            accepted=self.accepted,
            written=self.written,
            dropped=self._dropped_at_the_end(),
            waiting=self.open,
            sinks=self.sinks,
            ring_bytes=0,
            ring_used=0,
            rings=0,
            collector="none",
            collector_pid=None,
            heartbeat=None,
            last_write=self.last_write or before.last_write,
        )

    def _dropped_at_the_end(self) -> dict[str, int]:
        dropped = dict(self.dropped)
        left = self.waiting - self.open
        if left > 0:
            dropped["unwritten"] = left
        return dropped

    def copy(self) -> Tally:
        """Return another one with the same counts."""
        return replace(
            self, dropped=Counter(self.dropped), sinks=dict(self.sinks), parts=dict(self.parts)
        )

    def add(self, other: Tally) -> None:
        """Add the counts of rings."""
        self.accepted += other.accepted
        self.written += other.written
        self.waiting += other.waiting
        self.open += other.open
        self.dropped.update(other.dropped)
        self.rings += other.rings
        self.ring_bytes += other.ring_bytes
        self.ring_used += other.ring_used
        self.ring_peak = max(self.ring_peak, other.ring_peak)

    def remembered(self) -> Tally:
        """Return what is left to know of a ring that does not exist any more."""
        return replace(self, rings=0, ring_bytes=0, ring_used=0)

    def as_data(self) -> dict[str, Any]:
        """Return the counts as plain data, without those that are zero."""
        data = {
            "accepted": self.accepted,
            "written": self.written,
            "waiting": self.waiting,
            "open": self.open,
            "dropped": dict(self.dropped),
            "sinks": {name: sink._asdict() for name, sink in self.sinks.items()},
            "rings": self.rings,
            "ring_bytes": self.ring_bytes,
            "ring_used": self.ring_used,
            "ring_peak": self.ring_peak,
            "pid": self.pid,
            "heartbeat": self.heartbeat,
            "last_write": self.last_write,
            "parts": {name: part.as_data() for name, part in self.parts.items()},
            "gone": None if self.gone is None else self.gone.as_data(),
        }
        return {name: value for name, value in data.items() if value}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Tally:
        """Read what :meth:`as_data` gave."""
        fields: dict[str, Any] = dict(data)
        fields["dropped"] = Counter(data.get("dropped"))
        fields["sinks"] = {name: SinkStats(**s) for name, s in data.get("sinks", {}).items()}
        fields["parts"] = {name: cls.from_data(p) for name, p in data.get("parts", {}).items()}
        fields["gone"] = cls.from_data(data["gone"]) if "gone" in data else None
        return cls(**fields)


def drain_as_guest(ring: Ring, deadline: float) -> Tally:
    """Wait until another process's collector has stored what is in our ring; count and close it.

    Args:
        ring: Nobody logs into it any more.
        deadline: When to give up, on the monotonic clock.
    """
    FlushRequest(ring, deadline).wait()
    tally = Tally.of(ring)
    ring.close()
    return tally
