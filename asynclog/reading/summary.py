"""What a run consists of, in numbers: how many events of which kind, from when to when, how large.

Made in one pass, in bounded memory.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from ..intake.locks import is_held
from ..intake.ring import Ring, RingFormatError
from ..intake.spool import Spool
from ..sinks.backups import rotated_set
from .query import PLAIN

MOST_NAMES: Final = 1000
"""Names that are counted apart of each sort; those beyond are counted together."""
OTHERS: Final = "..."


class Summary:
    """Counts of events.

    Attributes:
        events: How many.
        first: Time stamp of the first, as it is in the line.
        last: That of the last.
        by: How many by ``level``, ``kind``, ``logger``, ``rank`` and ``exception`` (its type).
        dropped: Records that were lost, by where and why, as the notes in the run say.
        metrics: Names of the metrics, with how many values.
    """

    def __init__(self) -> None:
        self.events: int = 0
        self.first: str | None = None
        self.last: str | None = None
        names = ("level", "kind", "logger", "rank", "exception")
        self.by: dict[str, Counter[str]] = {name: Counter() for name in names}
        self.dropped: Counter[str] = Counter()
        self.metrics: Counter[str] = Counter()

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> Summary:
        """Return the summary of some events, which come in the order of their times."""
        summary = cls()
        for event in events:
            summary.note(event)
        return summary

    def note(self, event: Mapping[str, Any]) -> None:
        """Count an event."""
        self.events += 1
        stamp = event.get("timestamp")
        if isinstance(stamp, str):
            self.first = self.first or stamp
            self.last = stamp
        kind = event.get("kind", PLAIN)
        _count(self.by["level"], event.get("level", "info"))
        _count(self.by["kind"], kind)
        for name in ("logger", "rank"):
            if name in event:
                _count(self.by[name], event[name])
        error: object = event.get("exception")
        if isinstance(error, Mapping):
            _count(self.by["exception"], cast("Mapping[str, object]", error).get("type"))
        if kind == "note" and event.get("event") == "asynclog.dropped":
            lost: object = event.get("dropped")
            if isinstance(lost, Mapping):
                for reason, count in cast("Mapping[str, object]", lost).items():
                    if isinstance(count, int):
                        self.dropped[f"{event.get('where')}: {reason}"] += count
        elif kind == "metrics":
            metrics: object = event.get("metrics")
            if isinstance(metrics, Mapping):
                split = event.get("split")
                for name in cast("Mapping[str, object]", metrics):
                    _count(self.metrics, f"{split}/{name}" if split else name)

    @property
    def seconds(self) -> float | None:
        """Seconds from the first event to the last, None where they do not say."""
        try:
            begin, end = (datetime.fromisoformat(str(each)) for each in (self.first, self.last))
            return (end - begin).total_seconds()
        except (ValueError, TypeError):
            return None


class FileSizes(NamedTuple):
    """What the files of a run take.

    Attributes:
        files: How many, rotated ones included.
        bytes: On the disk.
    """

    files: int
    bytes: int


class RingState(NamedTuple):
    """A ring of the run.

    Attributes:
        alive: Whether its process lives.
        pid: Of the process, where it ran.
        host: Where it ran.
        rank: Its rank, None outside a distributed job.
        size: Bytes.
        waiting: Bytes that are not stored yet.
    """

    alive: bool
    pid: int
    host: str
    rank: int | None
    size: int
    waiting: int


def file_sizes(files: Iterable[Path]) -> FileSizes:
    """Return what rotated sets of files take.

    Args:
        files: The current file of each set.
    """
    sizes: list[int] = []
    for path in files:
        for part in rotated_set(path):
            try:
                sizes.append(os.stat(part).st_size)
            except FileNotFoundError:
                continue
    return FileSizes(len(sizes), sum(sizes))


def ring_states(spool: Spool) -> list[RingState]:
    """Return the rings of a run; nothing of them is changed.

    Raises:
        SpoolError: The spool is not safe to read.
    """
    return rings_in(spool.path) if spool.exists() else []


def rings_in(directory: Path) -> list[RingState]:
    """Return the rings in a spool directory; what is no ring of this version is left out."""
    states: list[RingState] = []
    for path in sorted(directory.glob("*.ring")):
        try:
            ring = Ring.open(path, read_only=True)
        except (OSError, RingFormatError):
            continue
        try:
            alive, origin = is_held(path), ring.origin
            states.append(
                RingState(alive, origin.pid, origin.host, origin.rank, ring.size, ring.used)
            )
        finally:
            ring.close()
    return states


def _count(counter: Counter[str], name: object) -> None:
    text = str(name)
    if text not in counter and len(counter) >= MOST_NAMES:
        text = OTHERS
    counter[text] += 1
