"""Exactly once from ring to file: spans of lines, the intent before each write, and its redo.

``tail`` moves only after the span is in the file. A collector killed in between leaves an intent in
the ring's header: which file, at which offset, how long. Whoever comes next compares the bytes
there with the ring's, appends what is missing, and moves ``tail``. Sizes alone would not do: with
several rings in one file they tore and lost lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from .._json import loads
from ..intake.ring import Intent, Origin, Ring, lines_between
from ..sinks.rotation import RotatingFile
from ..typing import Run
from .source import Source

MAX_SPAN: Final = 1 << 20
"""Bytes written at once; also the granularity at which room comes back to a full ring."""
QUARANTINE: Final = "quarantine.log"
"""File in the run directory for what was found in a dead process's ring and is no JSON."""


class DurableFile:
    """Writes rings into the files of one run; used by one thread at a time.

    Every method that writes may raise :class:`OSError`. Nothing is lost then: call again later.

    Args:
        open_file: Makes the file that a process's records go to.
        run: The run, with the collector's own host and pid.
    """

    def __init__(self, open_file: Callable[[Run], RotatingFile], run: Run) -> None:
        self._open_file = open_file
        self._run = run
        self._files: dict[Origin, RotatingFile] = {}
        self._outstanding: Source | None = None

    def probe(self) -> None:
        """Open the collector's own file, so that a bad path shows at start."""
        run = self._run
        self._file_for(Origin(run.host, run.pid, run.rank, run.local_rank)).prepare(0)

    def write(self, source: Source, end: int) -> None:
        """Store the lines of a ring up to ``end`` and move its tail."""
        if source.ended:
            for stop, good in _runs(source.ring, end):
                if good:
                    self._write_span(source, stop)
                else:
                    self._put_aside(source, stop)
        else:
            self._write_span(source, end)

    def redo(self, source: Source) -> None:
        """Finish the write that was outstanding when a collector died or a write failed."""
        ring = source.ring
        intent = ring.intent
        if intent is not None:
            start = ring.tail
            stop = start + intent.length
            file = self._file_for(ring.origin)
            path = file.find(intent.device, intent.inode)
            kept = 0
            # Without the file, what was in it is gone as well: the lines are written again.
            if path is not None and stop <= ring.head:
                self._outstanding = source
                content = ring.read(start, stop)
                kept = _finish(path, intent, content, sync=file.fsync != "never")
                if kept == intent.length:
                    ring.stored = intent.stored_after
                elif kept:
                    ring.stored += content.count(b"\n", 0, kept)
            if kept:
                ring.tail = start + kept
            ring.intent = None
        if self._outstanding is source:
            self._outstanding = None

    def files(self) -> list[RotatingFile]:
        """Return the files that are written so far; may be called from any thread."""
        return list(self._files.values())

    def close(self) -> None:
        """Close all files."""
        for file in set(self._files.values()):
            file.close()
        self._files.clear()

    def _file_for(self, origin: Origin) -> RotatingFile:
        file = self._files.get(origin)
        if file is None:
            run = replace(
                self._run,
                host=origin.host,
                pid=origin.pid,
                rank=origin.rank,
                local_rank=origin.local_rank,
            )
            made = self._open_file(run)
            # Processes share a file unless the path template tells them apart.
            same = [known for known in self._files.values() if known.path == made.path]
            file = self._files[origin] = same[0] if same else made
        return file

    def _write_span(self, source: Source, end: int) -> None:
        ring = source.ring
        if self._outstanding is not None:
            # At most one write is outstanding; it comes first.
            self.redo(self._outstanding)
        file = self._file_for(ring.origin)
        while (start := ring.tail) < end:
            stop = end
            if end - start > MAX_SPAN:
                stop = ring.line_end(start, start + MAX_SPAN)
            pieces = ring.pieces(start, stop)
            stored = ring.stored + sum(bytes(piece).count(b"\n") for piece in pieces)
            position = file.prepare(stop - start)
            ring.intent = Intent(
                position.device, position.inode, position.offset, stop - start, stored
            )
            self._outstanding = source
            file.append(pieces)
            ring.stored = stored
            ring.tail = stop
            self._outstanding = None

    def _put_aside(self, source: Source, end: int) -> None:
        ring = source.ring
        content = ring.read(ring.tail, end)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._run.directory / QUARANTINE, flags, 0o640)
        try:
            _append(descriptor, content)
        finally:
            os.close(descriptor)
        ring.tail = end
        source.quarantined += max(1, content.count(b"\n"))


def _runs(ring: Ring, end: int) -> list[tuple[int, bool]]:
    """Split what is in a ring into runs of good or bad lines: where each ends, and which it is."""
    runs: list[tuple[int, bool]] = []
    for start, stop in lines_between(ring, ring.tail, end):
        good = _is_record(ring.read(start, stop))
        if runs and runs[-1][1] == good:
            runs[-1] = (stop, good)
        else:
            runs.append((stop, good))
    return runs


def _is_record(line: bytes) -> bool:
    """Say whether a line is one whole JSON object."""
    if not line.startswith(b"{") or not line.endswith(b"}\n"):
        return False
    try:
        return isinstance(loads(line), dict)
    except ValueError:
        return False


def _finish(path: Path, intent: Intent, content: bytes, *, sync: bool) -> int:
    """Bring a file to the state after the write; return how many bytes of it are whole lines.

    They are there for whoever reads the file, but not on the disk before it is synced: the
    collector may have been killed between the write and that.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        kept = _complete(descriptor, intent, content)
        if kept and sync:
            os.fsync(descriptor)
        return kept
    finally:
        os.close(descriptor)


def _complete(descriptor: int, intent: Intent, content: bytes) -> int:
    size = os.fstat(descriptor).st_size
    found = _read(descriptor, intent.offset, len(content))
    common = _common_prefix(found, content)
    if common in (0, len(content)):
        # All of it is there, or nothing: then it is written like any other span, into
        # whatever file is the right one by now.
        return common
    if size == intent.offset + common:
        _append(descriptor, content[common:])
        return len(content)
    # Foreign bytes behind a torn piece: end the line, keep the whole ones before it.
    if _read(descriptor, size - 1, 1) != b"\n":
        _append(descriptor, b"\n")
    return content.rfind(b"\n", 0, common) + 1


def _read(descriptor: int, offset: int, length: int) -> bytes:
    found = b""
    while len(found) < length:
        piece = os.pread(descriptor, length - len(found), offset + len(found))
        if not piece:
            break
        found += piece
    return found


def _append(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _common_prefix(found: bytes, content: bytes) -> int:
    if content.startswith(found):
        return len(found)
    pairs = enumerate(zip(found, content, strict=False))
    return next(at for at, (one, other) in pairs if one != other)
