"""What /proc says of a process and its descendants; needs nothing but the interpreter."""

from __future__ import annotations

import os
from pathlib import Path


def descendants(pid: int, without: frozenset[int] = frozenset()) -> list[int]:
    """Return the living descendants of a process."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat:
                parents[int(entry)] = int(stat[1])
    found: list[int] = []
    pending = [pid]
    while pending:
        parent = pending.pop()
        children = [child for child, of in parents.items() if of == parent and child not in without]
        found += children
        pending += children
    return found


def cpu_seconds(pid: int) -> float:
    """Return user + system seconds of a process, 0 when it is gone."""
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK") if stat else 0.0


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process with its shared memory, 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name in parentheses may hold anything; the fields behind it start with the state.
    return text.rpartition(")")[2].split()
