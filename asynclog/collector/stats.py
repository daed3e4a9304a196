"""What a pipeline says about itself: counters, and the report of a run that has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class SinkReport(NamedTuple):
    """What became of the lines that were offered to one sink.

    Attributes:
        written: Lines the sink took.
        dropped: Lines it did not take, by reason: ``lagged`` (its stream was full), ``failed`` (it
            raised), ``suspended`` (it had failed so often that it was left alone for a while),
            ``abandoned`` (not written when the time to stop was over).
    """

    written: int
    dropped: dict[str, int]


class Stats(NamedTuple):
    """Counters of a pipeline since its start; of all processes when it hosts the collector.

    Attributes:
        accepted: Log calls that passed their level, including those dropped afterwards.
        written: Lines in the durable file (without one: lines handed to the sinks).
        dropped: Calls that were not accepted or lines that were not written, by reason: ``full``
            (no room and no waiting), ``timeout`` (waited for room in vain), ``failed`` (broke on
            the way), ``stopped`` (after ``stop()``), ``quarantined`` (no JSON, found in the ring of
            a dead process), ``unwritten`` (still in the ring when the time to stop was over; a
            recovery brings them back).
        waiting: Lines in rings, not yet written.
        sinks: What became of the lines, by name of the sink.
        ring_bytes: Bytes of the ring of this process.
        ring_used: Bytes of it in use.
    """

    accepted: int
    written: int
    dropped: dict[str, int]
    waiting: int
    sinks: dict[str, SinkReport]
    ring_bytes: int
    ring_used: int


class Report(NamedTuple):
    """How a run ended: ``accepted == written + sum(dropped.values())``.

    Attributes:
        accepted: As in :class:`Stats`.
        written: As in :class:`Stats`.
        dropped: As in :class:`Stats`.
        sinks: As in :class:`Stats`.
        run_dir: Where the files are.
    """

    accepted: int
    written: int
    dropped: dict[str, int]
    sinks: dict[str, SinkReport]
    run_dir: Path


class Tally:
    """Counts of the collector, summed over all rings it has seen.

    Attributes:
        accepted: Log calls that passed their level.
        written: Lines stored.
        waiting: Lines in rings.
        open: Those of them that are in rings of living processes.
        dropped: Lines or calls lost, by reason.
        sinks: What became of the lines, by sink.
    """

    def __init__(
        self,
        accepted: int = 0,
        written: int = 0,
        waiting: int = 0,
        open: int = 0,
        dropped: Mapping[str, int] | None = None,
        sinks: Mapping[str, SinkReport] | None = None,
    ) -> None:
        self.accepted = accepted
        self.written = written
        self.waiting = waiting
        self.open = open
        self.dropped: Counter[str] = Counter(dropped or {})
        self.sinks: dict[str, SinkReport] = dict(sinks or {})

    def as_data(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return {
            "accepted": self.accepted,
            "written": self.written,
            "waiting": self.waiting,
            "open": self.open,
            "dropped": dict(self.dropped),
            "sinks": {name: list(report) for name, report in self.sinks.items()},
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Tally:
        """Read what :meth:`as_data` gave."""
        sinks = {name: SinkReport(*report) for name, report in data["sinks"].items()}
        return cls(
            accepted=data["accepted"],
            written=data["written"],
            waiting=data["waiting"],
            open=data["open"],
            dropped=data["dropped"],
            sinks=sinks,
        )
