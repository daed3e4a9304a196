"""The last word of processors that hold records back: how many, where nobody has said so yet.

A processor takes part by a method ``take_unreported()`` that returns pairs of a text (what it
counts by) and a number (records held back that no record has mentioned), and begins anew.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from .._complain import complain
from .._levels import INFO
from .._line.encoder import Kind

if TYPE_CHECKING:
    from .system import LogSystem

MAX_KEYS: Final = 50
"""Keys in the record, those with the most records; all others are one sum."""
MAX_KEY_LENGTH: Final = 200


def report_suppressed(system: LogSystem) -> None:
    """Write one ``asynclog.suppressed`` record if there is something to say; never raises."""
    counts: dict[str, int] = {}
    for processor in system.processors:
        try:
            take: Callable[[], Iterable[tuple[object, int]]] | None
            take = getattr(processor, "take_unreported", None)
            if take is not None:
                _add(counts, take())
        except Exception as error:
            name = type(processor).__name__
            complain(f"what {name} has held back is not known: {type(error).__name__}")
    if counts:
        system.target.put(_line(system, counts), INFO)


def _add(counts: dict[str, int], pairs: Iterable[tuple[object, int]]) -> None:
    for key, count in pairs:
        if count > 0:
            text = str(key)[:MAX_KEY_LENGTH]
            counts[text] = counts.get(text, 0) + count


def _line(system: LogSystem, counts: dict[str, int]) -> bytes:
    largest = dict(heapq.nlargest(MAX_KEYS, counts.items(), key=lambda pair: pair[1]))
    record: dict[str, Any] = {
        "kind": Kind("note"),
        "event": "asynclog.suppressed",
        "suppressed": largest,
        "total": sum(counts.values()),
        "host": os.uname().nodename,
        "pid": os.getpid(),
    }
    if len(counts) > len(largest):
        record["keys_left_out"] = len(counts) - len(largest)
    return system.encoder.encode(record, level="info", logger="asynclog")
