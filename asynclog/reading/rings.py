"""What is in the rings of a run and not yet in its files; nothing of it is changed.

A collector may be at work meanwhile. A ring is copied first, then its tail is read again: what the
tail has passed is in the files by now, and may be overwritten in the ring. A write that was begun,
and perhaps never finished, is in the ring's header with its place in a file: what is there already
is left out here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .._json import loads
from ..collector.source import STRONGLY_ORDERED
from ..intake.dump import waiting_dumps
from ..intake.ring import Intent, Ring, RingFormatError
from ..intake.spool import Spool
from ..sinks.backups import identified_set
from ..sinks.parts import Part, open_named
from .lines import FIRST, Line, split

_ATTEMPTS = 100
_SETTLING = 0.002
"""Seconds after which a weakly ordered CPU has shown the lines before a head that was read."""


class Waiting(NamedTuple):
    """What one ring holds that is in no file yet.

    Attributes:
        path: The ring; the spool itself for crash dumps.
        tail: Position of the first of the lines.
        head: Position after the last of them.
        rank: Rank of the process, None without one and for rank 0, as its file is named.
        lines: The lines.
    """

    path: Path
    tail: int
    head: int
    rank: int | None
    lines: list[Line]


def look(spool: Spool | None, files: Iterable[Path]) -> list[Waiting]:
    """Return what the rings of a run hold that is in no file yet, crash dumps included.

    A line may come to its file at any later moment: see :func:`~asynclog.reading.snapshot.take`.

    Args:
        spool: Where they lie.
        files: The run's files.

    Raises:
        SpoolError: The spool is not safe to read.
    """
    if spool is None or not spool.exists():
        return []
    # the crash dumps first: a collector makes rings of them
    dumps = [line for dump in waiting_dumps(spool) for line in split(dump, None, FIRST)]
    found: list[Waiting] = []
    for path in spool.rings():
        try:
            ring = Ring.open(path, read_only=True)
        except (OSError, RingFormatError):
            # drained and removed meanwhile, or of another version: recovery says so
            continue
        try:
            found.append(_copy(ring, path, files))
        finally:
            ring.close()
    if dumps:
        taken = {line[2] for ring in found for line in ring.lines}
        left = [line for line in dumps if line[2] not in taken]
        found.append(Waiting(spool.path, 0, 0, None, left))
    return found


def _copy(ring: Ring, path: Path, files: Iterable[Path]) -> Waiting:
    head = ring.head
    if not STRONGLY_ORDERED:
        time.sleep(_SETTLING)
    start = min(ring.tail, head)
    content = ring.read(start, head)
    tail, intent = _state(ring)
    if tail >= head:
        content, tail = b"", head
    content = content[tail - start :]
    if intent is not None:
        stored = _in_file(intent, content, files)
        tail += stored
        content = content[stored:]
    rank = ring.origin.rank or None
    lines = [line for line in split(content, rank, FIRST) if _is_record(line[2])]
    return Waiting(path, tail, head, rank, lines)


def _state(ring: Ring) -> tuple[int, Intent | None]:
    """Return tail and the write begun there, both of one moment."""
    for _ in range(_ATTEMPTS):
        tail, intent = ring.tail, ring.intent
        if ring.tail == tail and ring.intent == intent:
            return tail, intent
    return ring.tail, None


def _in_file(intent: Intent, content: bytes, files: Iterable[Path]) -> int:
    """Return how many bytes of whole lines a write has brought to its file already."""
    part = _find(intent, files)
    if part is None:
        return 0
    content = content[: intent.length]
    found = part.read_at(intent.offset, len(content))
    part.close()
    common = len(found)
    if not content.startswith(found):
        pairs = enumerate(zip(found, content, strict=False))
        common = next(at for at, (one, other) in pairs if one != other)
    return content.rfind(b"\n", 0, common) + 1


def _find(intent: Intent, files: Iterable[Path]) -> Part | None:
    """Open the file that a write goes to, whatever it is called now."""
    inode = (intent.device, intent.inode)
    for _ in range(_ATTEMPTS):
        try:
            for file in files:
                for named in reversed(identified_set(file)):
                    if named.inode == inode:
                        return open_named(named)
            return None
        except FileNotFoundError:
            # renamed between our look and its opening
            continue
    return None


def _is_record(line: bytes) -> bool:
    """Say whether recovery would bring a line to the file: a crash may leave anything."""
    try:
        return isinstance(loads(line), dict)
    except ValueError:
        return False
