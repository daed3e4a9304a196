"""The last records of one process, out of the files of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..sinks.select import parse
from .job_console import OWN_LOGGER

LAST_RECORDS: Final = 50
LOOKED_AT: Final = 8 << 20
"""Bytes at the end of each file that are read."""
FILES: Final = 2
"""Newest files of each rotated set."""


def last_records(run_dir: Path, pid: int | None, rank: int | None, count: int) -> list[Any]:
    """Return the last records of a process, the oldest first.

    Args:
        run_dir: Directory of the run.
        pid: Process id. Records without one count as its own, if it is no rank.
        rank: Its rank, if it has one.
        count: How many.
    """
    found: list[Mapping[str, Any]] = []
    for path in run_dir.glob("events*.jsonl"):
        found.extend(
            event
            for event in map(parse, _last_lines(path))
            if _is_of(event, pid, rank)
            and event.get("kind") != "note"
            and event.get("logger") != OWN_LOGGER
        )
    found.sort(key=lambda event: str(event.get("timestamp", "")))
    return found[-count:]


def _is_of(event: Mapping[str, Any], pid: int | None, rank: int | None) -> bool:
    if rank is None:
        return event.get("pid", pid) == pid
    return event.get("rank") == rank and event.get("pid") == pid


def _last_lines(path: Path) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOOKED_AT))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    # the first may be the end of a longer one
    return [line for line in lines[size > LOOKED_AT :] if line]
