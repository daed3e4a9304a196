"""Crash dumps that outlive their process: a file in the spool that becomes a record.

``faulthandler`` writes there while the process dies. Whoever collects then finds a file whose lock
is free, and puts its text into a ring of the same name, as if the process had logged it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from .._complain import complain
from .._json import dumps, loads
from .locks import FileLock
from .overflow import Overflow
from .producer import make_producer
from .ring import Origin, Ring
from .spool import Spool

SUFFIX: Final = ".dump"
RING_BYTES: Final = 256 * 1024
MAX_READ: Final = 64 * 1024
"""Bytes of a dump that are looked at: one hundred threads with one hundred frames are more."""
_ROOM: Final = 4096
"""Bytes of a line that are kept for all else than the dump."""
CRITICAL: Final = 50
_ATTEMPTS: Final = 100


class DumpFile:
    """A file for crash dumps of this process.

    Attributes:
        descriptor: Where to write the dump.
    """

    def __init__(self, lock: FileLock, descriptor: int) -> None:
        self._lock = lock
        self.descriptor: int = descriptor

    @classmethod
    def create(cls, spool: Spool, fields: Mapping[str, Any], max_event_bytes: int) -> DumpFile:
        """Make the file.

        Args:
            spool: Where.
            fields: What the record says of this process: ``pid``, ``host``, ``rank``, ...
            max_event_bytes: Longest line of the run.

        Raises:
            OSError: It cannot be made.
            SpoolError: The spool is not safe.
        """
        spool.prepare()
        name = f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        lock = FileLock(spool.path / name)
        for _ in range(_ATTEMPTS):
            if lock.acquire(create=True):
                break
            # a collector has just looked whether we are alive
            time.sleep(0.001)
        else:
            raise OSError(errno.EBUSY, "the file is locked", str(lock.path))
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(lock.path, flags)
            header = {"fields": dict(fields), "max_event_bytes": max_event_bytes}
            os.write(descriptor, dumps(header) + b"\n")
        except BaseException:
            lock.release(unlink=True)
            raise
        return cls(lock, descriptor)

    def read(self) -> str:
        """Return what was written, empty when nothing was."""
        try:
            return _parts(self._lock.path.read_bytes()[:MAX_READ])[1]
        except (OSError, ValueError):
            return ""

    def close(self) -> None:
        """Remove the file; in a forked child only its descriptor, the file is the parent's."""
        os.close(self.descriptor)
        self._lock.release(unlink=True)


def collect_dumps(spool: Spool) -> bool:
    """Make rings of the dumps of dead processes; say whether there are any.

    To be called by the run's collector, before it removes any ring: a ring that is there shows
    that its dump has been taken, should we be killed in between.
    """
    found = False
    try:
        paths = sorted(spool.path.glob(f"*{SUFFIX}"))
    except OSError:
        return False
    for path in paths:
        try:
            found = _collect(path) or found
        except Exception as error:
            # no room for a ring, or somebody else's file: tried again later
            complain(f"cannot take in the crash dump {path}: {error}", kind="dump")
    return found


def waiting_dumps(spool: Spool) -> list[bytes]:
    """Return the records of dumps that no collector has taken in yet; nothing is changed."""
    found: list[bytes] = []
    for path in sorted(spool.path.glob(f"*{SUFFIX}")):
        lock = FileLock(path)
        try:
            # with a ring it is as good as taken in
            if path.with_suffix(".ring").exists() or not lock.acquire():
                continue
            record = _record(path)
        except (OSError, ValueError):
            continue
        finally:
            lock.release()
        if record is not None:
            found.append(record.line)
    return found


class _Record(NamedTuple):
    """The record of a dump.

    Attributes:
        line: Its line, with its end.
        origin: The process that has died.
    """

    line: bytes
    origin: Origin


def _collect(path: Path) -> bool:
    lock = FileLock(path)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise ValueError("it is no file")
        if not lock.acquire():
            return False
    except FileNotFoundError:
        return False
    try:
        record = _record(path)
        found = record is not None and _put(path.with_suffix(".ring"), record)
        lock.release(unlink=True)
        return found
    finally:
        lock.release()


def _record(path: Path) -> _Record | None:
    """Return the record of a dump, None when there is no dump in the file.

    Raises:
        OSError: It cannot be read.
        ValueError: Its header makes no sense.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        content = file.read(MAX_READ)
        modified = os.fstat(file.fileno()).st_mtime
    try:
        header, dump = _parts(content)
    except ValueError:
        # killed while it was being made
        return None
    if not dump.strip():
        return None
    fields: dict[str, Any] = header.get("fields") or {}
    room = int(header.get("max_event_bytes") or MAX_READ) - _ROOM
    # each byte of a dump is at most two in JSON: it is ASCII
    text = dump[: max(0, room // 2)]
    record: dict[str, Any] = {
        "timestamp": f"{datetime.fromtimestamp(modified, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "level": "critical",
        "event": dump.lstrip().partition("\n")[0][:500],
        "logger": "faulthandler",
        **fields,
        # its lines, as they are: the event is the first of them
        "stack": text,
    }
    if len(text) < len(dump):
        record["truncated"] = True
    origin = Origin(str(fields.get("host", "")), int(fields.get("pid", 0)))
    return _Record(dumps(record) + b"\n", origin)


def _put(ring_path: Path, record: _Record) -> bool:
    """Put a dump into a ring of its own; say whether it was not in there already."""
    producer = make_producer(Overflow(wait=False))
    try:
        # one that was made and not filled, because somebody was killed over it
        ring = Ring.open(ring_path)
    except FileNotFoundError:
        ring = Ring.create(ring_path, RING_BYTES, record.origin, producer.next_base)
    fresh = not ring.accepted
    if fresh:
        producer.attach(ring)
        producer.put(record.line, CRITICAL)
        producer.detach()
    ring.close()
    return fresh


def _parts(content: bytes) -> tuple[dict[str, Any], str]:
    """Return the header and the dump.

    Raises:
        ValueError: There is no header.
    """
    head, _, dump = content.partition(b"\n")
    header = loads(head)
    if not isinstance(header, dict):
        raise ValueError("no header")
    return cast("dict[str, Any]", header), dump.decode("ascii", "backslashreplace")
