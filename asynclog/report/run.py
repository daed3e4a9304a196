"""What a page tells of one run, gathered in one pass over its records, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from .._best import BestValues
from .._flatten import flatten_dict
from .activity import LEVELS, Activity
from .crash import Crash, read_crash
from .curves import Curves
from .lines import MAX_LINES, Lines
from .text import cut
from .timeline import MAX_SPANS, Timeline

MAX_POINTS: Final = 80_000
"""Points of all curves on a page, some 40 bytes each."""
MAX_PARAMS: Final = 1_000
"""Hyperparameters of a run that are shown."""
_MAX_RANKS: Final = 100_000
# drawn or listed elsewhere, and far too many for a list
_NO_LINES: Final = frozenset(("metrics", "hparams", "histogram", "image"))


@dataclass
class Run:
    """One run.

    Attributes:
        name: What the page calls it.
        path: Its directory.
        curves: Its metrics.
        lines: Its log lines.
        timeline: Its stages and timers.
        activity: How many log lines there are over time.
        best: Its best values.
        params: Its hyperparameters, under flat names.
        records: How many records it has.
        start: Time of the first one, in seconds since 1970; None without any.
        end: Time of the last one.
        ranks: Ranks that have logged.
        hosts: Machines that have logged.
        dropped: Records that were lost, by the pipeline's own notes.
        skipped: Lines of its files that are no records.
        crash: How it failed; None where it did not.
    """

    name: str
    path: Path
    curves: Curves
    lines: Lines
    timeline: Timeline
    activity: Activity = field(default_factory=Activity)
    best: BestValues = field(default_factory=BestValues)
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    records: int = 0
    start: float | None = None
    end: float | None = None
    ranks: set[int] = field(default_factory=set[int])
    hosts: set[str] = field(default_factory=set[str])
    dropped: int = 0
    skipped: int = 0
    crash: Crash | None = None

    @property
    def seconds(self) -> float:
        """Time from its first to its last record."""
        return 0.0 if self.start is None or self.end is None else self.end - self.start

    def note(self, record: Mapping[str, Any]) -> None:
        """Take in a record."""
        self.records += 1
        time = _seconds(record.get("timestamp"))
        if time is None:
            # a time stamp of the user's own making: shown where the run is by then
            time = self.end or 0.0
        self.start = time if self.start is None else min(self.start, time)
        self.end = time if self.end is None else max(self.end, time)
        rank, host = record.get("rank"), record.get("host")
        if isinstance(rank, int) and len(self.ranks) < _MAX_RANKS:
            self.ranks.add(rank)
        # a service may well log a field "host" of another meaning; ours comes with a pid
        if isinstance(host, str) and "pid" in record and len(self.hosts) < _MAX_RANKS:
            self.hosts.add(host)
        kind = record.get("kind")
        if kind == "metrics":
            self.curves.note_record(record)
            self.best.note_record(record)
        elif kind == "hparams":
            self._note_params(record)
        elif kind == "stage":
            self.timeline.note_stage(record, time)
        elif kind == "timer":
            self.timeline.note_timer(record)
        elif kind == "note" and record.get("event") == "asynclog.dropped":
            self._note_dropped(record)
        if kind not in _NO_LINES:
            level = record.get("level")
            level = level if level in LEVELS else "info"
            self.activity.note(time, cast(str, level))
            self.lines.note(record, time, cast(str, level))

    def _note_params(self, record: Mapping[str, Any]) -> None:
        params = record.get("params")
        if isinstance(params, Mapping):
            for whole, value in flatten_dict(cast("Mapping[Any, Any]", params)).items():
                name = cut(whole)
                if name in self.params or len(self.params) < MAX_PARAMS:
                    self.params[name] = value

    def _note_dropped(self, record: Mapping[str, Any]) -> None:
        dropped = record.get("dropped")
        # of a sink's own lines, the files still have every one
        if record.get("where") == "intake" and isinstance(dropped, Mapping):
            for number in cast("Mapping[str, object]", dropped).values():
                self.dropped += number if isinstance(number, int) else 0


def gather(name: str, path: Path, records: Iterable[Mapping[str, Any]], runs: int = 1) -> Run:
    """Read a run.

    Args:
        name: What the page calls it.
        path: Its directory.
        records: Its records, about in the order of their times.
        runs: How many share the page.
    """
    run = Run(
        name,
        path,
        Curves(MAX_POINTS // runs),
        Lines(MAX_LINES // runs),
        Timeline(MAX_SPANS // runs),
        crash=read_crash(path),
    )
    for record in records:
        run.note(record)
    return run


def _seconds(timestamp: object) -> float | None:
    try:
        if isinstance(timestamp, str):
            # text without a zone is taken as local time, as Python does
            return datetime.fromisoformat(timestamp).timestamp()
        if isinstance(timestamp, (int, float)) and math.isfinite(timestamp):
            return float(timestamp)
    except (ValueError, OverflowError, OSError):
        pass
    return None
