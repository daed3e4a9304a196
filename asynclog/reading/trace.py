"""Stages and timers as slices of a Chrome trace, which Perfetto and chrome://tracing open.

Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event
Format). Each process of the run is a process there. What overlaps without lying within each other,
as the stages of several tasks do, comes into lanes (threads) of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

Process: TypeAlias = tuple[int, str, int]
"""Rank, host and pid, as far as the records tell them."""

TOLERANCE: Final = 200.0
"""Microseconds by which something may begin before what it lies in: records are made a little
before and after what they are about."""
MOST_SPANS: Final = 10_000
"""Slices beside each other that a lane remembers."""
_SHOWN: Final = ("timestamp", "kind", "level", "event", "logger", "stage_event", "quiet", "elapsed")


class _Span(NamedTuple):
    begin: float
    end: float


class _Lane:
    """Slices of which any two lie beside or within each other; added in the order of their ends."""

    def __init__(self) -> None:
        self._spans: list[_Span] = []

    def add(self, begin: float, end: float) -> float | None:
        """Add a slice; return where it begins then, None when it does not fit."""
        inside = len(self._spans)
        while inside and self._spans[inside - 1].end > begin:
            inside -= 1
            first = self._spans[inside].begin
            if first < begin - TOLERANCE:
                return None
            begin = min(begin, first)
        self._spans[inside:] = [_Span(begin, max(end, begin))]
        if len(self._spans) > MOST_SPANS:
            half = MOST_SPANS // 2
            self._spans[:half] = [_Span(self._spans[0].begin, self._spans[half - 1].end)]
        return begin


def trace_events(events: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the trace events of a run's records of the kinds ``stage`` and ``timer``.

    A stage that has no end, because its process was killed, ends with the last record.

    Args:
        events: The records, in the order of their times.
    """
    numbers: dict[Process, int] = {}
    lanes: dict[Process, list[_Lane]] = {}
    open_stages: dict[tuple[Process, str], list[tuple[float, Mapping[str, Any]]]] = {}
    last = 0.0
    for event in events:
        time = _microseconds(event.get("timestamp"))
        if time is None:
            continue
        last = max(last, time)
        process = _process(event)
        if process not in numbers:
            numbers[process] = len(numbers) + 1
            yield from _named(process, numbers[process])
        kind, mark = event.get("kind"), event.get("stage_event")
        begin = time - _elapsed(event)
        if kind == "stage":
            begun = open_stages.setdefault((process, str(event.get("stage"))), [])
            if mark == "start":
                begun.append((time, event))
                continue
            said: Mapping[str, Any] = {}
            if begun:
                # of stages of one name at a time, the one that began when this one did
                nearest = min(begun, key=lambda each: abs(each[0] - begin))
                begun.remove(nearest)
                begin, said = nearest
            yield _slice(event, {**said, **event}, begin, time, numbers[process], lanes, process)
        elif kind == "timer":
            yield _slice(event, event, begin, time, numbers[process], lanes, process)
    unfinished = [(process, *each) for (process, _), all_ in open_stages.items() for each in all_]
    for process, begin, event in sorted(unfinished, key=lambda each: -each[1]):
        args = {**event, "unfinished": True}
        yield _slice(event, args, begin, last, numbers[process], lanes, process)


def _slice(
    event: Mapping[str, Any],
    fields: Mapping[str, Any],
    begin: float,
    end: float,
    number: int,
    lanes: dict[Process, list[_Lane]],
    process: Process,
) -> dict[str, Any]:
    lane, begin = _placed(lanes.setdefault(process, []), begin, end)
    timer = event.get("timer")
    name = str(event.get("stage", "")).rpartition("/")[2] if timer is None else str(timer)
    return {
        "name": name,
        "cat": str(event.get("kind")),
        "ph": "X",
        "ts": begin,
        "dur": max(0.0, end - begin),
        "pid": number,
        "tid": lane,
        "args": {key: value for key, value in fields.items() if key not in _SHOWN},
    }


def _placed(lanes: list[_Lane], begin: float, end: float) -> tuple[int, float]:
    """Put a slice into the first lane that it fits; return its number, and where it begins then."""
    for number, lane in enumerate(lanes, 1):
        fitted = lane.add(begin, end)
        if fitted is not None:
            return number, fitted
    lane = _Lane()
    lane.add(begin, end)
    lanes.append(lane)
    return len(lanes), begin


def _named(process: Process, number: int) -> Iterator[dict[str, Any]]:
    rank, host, pid = process
    parts = [f"rank {rank}" if rank >= 0 else "", host, f"pid {pid}" if pid else ""]
    name = " ".join(part for part in parts if part) or "run"
    for what, value in (
        ("process_name", {"name": name}),
        ("process_sort_index", {"sort_index": max(rank, 0)}),
    ):
        yield {"name": what, "ph": "M", "pid": number, "tid": 0, "args": value}


def _process(event: Mapping[str, Any]) -> Process:
    rank, host, pid = event.get("rank"), event.get("host"), event.get("pid")
    return (
        rank if isinstance(rank, int) else -1,
        host if isinstance(host, str) else "",
        pid if isinstance(pid, int) else 0,
    )


def _elapsed(event: Mapping[str, Any]) -> float:
    elapsed = event.get("elapsed")
    return max(0.0, elapsed * 1e6) if isinstance(elapsed, (int, float)) else 0.0


def _microseconds(stamp: object) -> float | None:
    try:
        time = datetime.fromisoformat(str(stamp))
    except ValueError:
        return None
    return round(time.timestamp() * 1e6)
