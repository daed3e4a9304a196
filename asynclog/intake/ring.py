"""The ring file: its format, and one mapping of it. Knows nothing of who writes or reads.

Layout: one header page of 64-bit words, then a power-of-two data area that holds plain JSONL bytes.
Positions (``head``, ``tail``) only ever grow; a position's place in the data area is its remainder.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from .._rank import local_rank_from_environment, rank_from_environment
from ..exceptions import AsynclogError
from .locks import FileLock

FORMAT_VERSION: Final = 1
MAGIC: Final = int.from_bytes(b"ASYNCLOG", "little")
HEADER_BYTES: Final = 4096
MAX_RING_SIZE: Final = 1 << 30
_LAST: Final = (1 << 64) - 1

# Words of the header page.
_MAGIC, _VERSION, _SIZE = 0, 1, 2
HEAD: Final = 3
TAIL: Final = 4
_PID, _RANK, _LOCAL_RANK, _CREATED = 5, 6, 7, 8
FLUSH_WANTED: Final = 9
FLUSH_DONE: Final = 10
LINES: Final = 11
_STORED = 12
_PEAK, _NOTES, _LIFE = 13, 14, 15
_COMMIT, _DEVICE, _INODE, _OFFSET, _LENGTH, _STORED_AFTER = 16, 17, 18, 19, 20, 21
DROPPED: Final = 32
"""First of the dropped counters: one word per level and reason."""

_HOST_AT, _HOST_BYTES = 2048, 256

REASONS: Final = ("full", "timeout", "failed", "stopped")
"""Why a call was not accepted: no room and no waiting, waited in vain, broke, too late."""
LEVEL_SLOTS: Final = (10, 20, 30, 40, 50)
"""Levels that are counted apart; a level in between counts as the next lower one."""


def dropped_word(level: int, reason: str) -> int:
    """Return the index of the header word that counts drops of ``level`` for ``reason``."""
    slot = 0
    for number, threshold in enumerate(LEVEL_SLOTS):
        if level >= threshold:
            slot = number
    return DROPPED + slot * len(REASONS) + REASONS.index(reason)


class RingFormatError(AsynclogError):
    """A file is no ring, or one whose header makes no sense."""

    def __init__(self, path: object, problem: str) -> None:
        super().__init__(f"{path} is no usable ring: {problem}")


class Life(IntEnum):
    """What is known of the process that fills a ring, by its own word.

    Attributes:
        UNKNOWN: It has not started the run; nobody waits for a word of it.
        RUNNING: It has, and has not ended it yet. If it is gone, it was killed.
        ENDED: It has ended it.
        FAILED: It has, because of an exception that nobody caught.
    """

    UNKNOWN = 0
    RUNNING = 1
    ENDED = 2
    FAILED = 3


class Origin(NamedTuple):
    """Which process fills a ring. The pid is for display: liveness is told by the lock."""

    host: str
    pid: int
    rank: int | None = None
    local_rank: int | None = None

    @classmethod
    def here(cls, rank: int | None = None) -> Origin:
        """Return this process.

        Args:
            rank: Whose files the records go to; None for what the environment says.
        """
        return cls(
            os.uname().nodename,
            os.getpid(),
            rank_from_environment() if rank is None else rank,
            local_rank_from_environment(),
        )


class Intent(NamedTuple):
    """A write to a file that was about to be made: redone after a kill, void once tail moved.

    Attributes:
        device: ``st_dev`` of the file.
        inode: ``st_ino`` of the file.
        offset: Where in the file, in bytes.
        length: Bytes.
        stored_after: What :attr:`Ring.stored` will be then.
    """

    device: int
    inode: int
    offset: int
    length: int
    stored_after: int


class Ring:
    """One mapping of a ring; made by :meth:`create`, :meth:`private` or :meth:`open`.

    Attributes:
        path: The ring file, None when the ring is private memory.
        size: Bytes of the data area, a power of two.
        mapping: The whole file; the data area begins at ``HEADER_BYTES``.
        words: The header as 64-bit words.
        data: The data area.
        lock: Held by the process that fills the ring; only its maker has it.
    """

    __slots__ = ("data", "lock", "mapping", "path", "size", "words")

    def __init__(self, mapping: mmap.mmap, path: Path | None, lock: FileLock | None) -> None:
        self.mapping: mmap.mmap = mapping
        self.path: Path | None = path
        self.lock = lock
        view = memoryview(mapping)
        self.words: memoryview = view[:HEADER_BYTES].cast("Q")
        self.data: memoryview = view[HEADER_BYTES:]
        self.size: int = len(self.data)

    @classmethod
    def create(cls, path: Path, size: int, origin: Origin, base: int = 0) -> Ring:
        """Make a ring file that appears under its name only once it is whole.

        Args:
            path: Where; the name ends in ``.ring``.
            size: Bytes of the data area, a power of two.
            origin: The process that will fill it.
            base: First position, a multiple of ``size``.

        Raises:
            OSError: No room, no right, or the name is taken.
        """
        made = path.with_suffix(".new")
        lock = FileLock(made)
        descriptor = os.open(
            made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            lock.acquire()
            _allocate(descriptor, HEADER_BYTES + size)
            ring = cls(mmap.mmap(descriptor, HEADER_BYTES + size), path, lock)
            ring._fill_header(size, origin, base)
            os.rename(made, path)
        except BaseException:
            lock.release()
            made.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        lock.path = path
        return ring

    @classmethod
    def private(cls, size: int, origin: Origin, base: int = 0) -> Ring:
        """Make a ring in memory of this process alone, which does not outlive it."""
        # Not shared: a forked child gets a copy instead of writing into its parent's.
        if os.name == "posix":
            mapping = mmap.mmap(
                -1, HEADER_BYTES + size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            )
        else:
            mapping = mmap.mmap(-1, HEADER_BYTES + size)
        ring = cls(mapping, None, None)
        ring._fill_header(size, origin, base)
        return ring

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Ring:
        """Map a ring that another process made.

        Args:
            path: The ring file.
            read_only: Let nothing of it be changed.

        Raises:
            OSError: It cannot be opened.
            RingFormatError: It is no ring of this format.
        """
        mode = os.O_RDONLY if read_only else os.O_RDWR
        descriptor = os.open(path, mode | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            length = os.fstat(descriptor).st_size
            if length <= HEADER_BYTES:
                raise RingFormatError(path, f"{length} bytes are too short")
            access = mmap.ACCESS_READ if read_only else mmap.ACCESS_WRITE
            mapping = mmap.mmap(descriptor, length, access=access)
        finally:
            os.close(descriptor)
        ring = cls(mapping, path, None)
        try:
            ring.check()
        except RingFormatError:
            ring.close()
            raise
        return ring

    def _fill_header(self, size: int, origin: Origin, base: int) -> None:
        words = self.words
        words[_VERSION] = FORMAT_VERSION
        words[_SIZE] = size
        words[HEAD] = words[TAIL] = words[FLUSH_WANTED] = words[FLUSH_DONE] = base
        words[_PID] = origin.pid
        words[_RANK] = 0 if origin.rank is None else origin.rank + 1
        words[_LOCAL_RANK] = 0 if origin.local_rank is None else origin.local_rank + 1
        words[_CREATED] = time.time_ns()
        host = origin.host.encode()[: _HOST_BYTES - 1]
        memoryview(self.mapping)[_HOST_AT : _HOST_AT + len(host)] = host
        words[_MAGIC] = MAGIC

    def check(self) -> None:
        """Check the header against the file.

        Raises:
            RingFormatError: It makes no sense.
        """
        words = self.words
        if words[_MAGIC] != MAGIC:
            raise RingFormatError(self.path, "the magic number is missing")
        if words[_VERSION] != FORMAT_VERSION:
            raise RingFormatError(
                self.path,
                f"it has format version {words[_VERSION]}, this asynclog reads {FORMAT_VERSION}; "
                "recover it with the version that wrote it",
            )
        if words[_SIZE] != self.size or self.size & (self.size - 1) or self.size > MAX_RING_SIZE:
            raise RingFormatError(self.path, f"its size is {self.size}, not {words[_SIZE]}")
        if not 0 <= words[HEAD] - words[TAIL] <= self.size:
            raise RingFormatError(self.path, f"head {words[HEAD]} and tail {words[TAIL]} disagree")

    @property
    def origin(self) -> Origin:
        """The process that fills the ring."""
        words = self.words
        host = bytes(memoryview(self.mapping)[_HOST_AT : _HOST_AT + _HOST_BYTES])
        return Origin(
            host.partition(b"\0")[0].decode(errors="replace"),
            words[_PID],
            words[_RANK] - 1 if words[_RANK] else None,
            words[_LOCAL_RANK] - 1 if words[_LOCAL_RANK] else None,
        )

    @property
    def head(self) -> int:
        """Position after the last whole line."""
        return self.words[HEAD]

    @property
    def tail(self) -> int:
        """Position of the first line that is not yet stored."""
        return self.words[TAIL]

    @tail.setter
    def tail(self, position: int) -> None:
        # Between two moves of tail only head grows: here is where the ring is fullest.
        words = self.words
        used = words[HEAD] - words[TAIL]
        if used > words[_PEAK]:
            words[_PEAK] = used
        words[TAIL] = position

    @property
    def used(self) -> int:
        """Bytes between tail and head."""
        return self.words[HEAD] - self.words[TAIL]

    @property
    def peak(self) -> float:
        """Largest share of the ring that was ever in use, from 0 to 1."""
        return max(self.words[_PEAK], self.used) / self.size

    @property
    def stored(self) -> int:
        """Lines that were ever stored; to be set before the tail is moved."""
        return self.words[_STORED]

    @stored.setter
    def stored(self, lines: int) -> None:
        # only a header that was overwritten counts as far
        self.words[_STORED] = lines & _LAST

    @property
    def accepted(self) -> int:
        """Lines that were ever put into the ring."""
        return self.words[LINES]

    @property
    def notes(self) -> bool:
        """Whether it holds a collector's own notes, which are no events of the run."""
        return bool(self.words[_NOTES])

    @notes.setter
    def notes(self, value: bool) -> None:
        self.words[_NOTES] = value

    @property
    def life(self) -> Life:
        """What its process says of itself."""
        value = self.words[_LIFE]
        return Life(value) if value <= Life.FAILED else Life.UNKNOWN

    @life.setter
    def life(self, value: Life) -> None:
        self.words[_LIFE] = value

    @property
    def dropped(self) -> dict[tuple[int, str], int]:
        """Calls that were not accepted, by level and reason; zeros left out."""
        words = self.words
        return {
            (level, reason): count
            for level in LEVEL_SLOTS
            for reason in REASONS
            if (count := words[dropped_word(level, reason)])
        }

    def pieces(self, start: int, end: int) -> tuple[memoryview, ...]:
        """Return the bytes between two positions, in two pieces when they wrap around."""
        at = start & (self.size - 1)
        length = end - start
        if at + length <= self.size:
            return (self.data[at : at + length],)
        return self.data[at:], self.data[: at + length - self.size]

    def read(self, start: int, end: int) -> bytes:
        """Return a copy of the bytes between two positions."""
        pieces = self.pieces(start, end)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    def line_end(self, start: int, limit: int) -> int:
        """Return the last position up to ``limit`` at which a line ends, ``start`` if none does."""
        while limit > start:
            at = (limit - 1) & (self.size - 1)
            lowest = max(0, at + 1 - (limit - start))
            found = self.mapping.rfind(b"\n", HEADER_BYTES + lowest, HEADER_BYTES + at + 1)
            if found >= 0:
                return limit - (at - (found - HEADER_BYTES))
            limit -= at + 1 - lowest
        return start

    @property
    def intent(self) -> Intent | None:
        """The write that was about to be made when tail stood where it stands, if any."""
        words = self.words
        if words[_COMMIT] != words[TAIL] + 1:
            return None
        return Intent(
            words[_DEVICE],
            words[_INODE],
            words[_OFFSET],
            words[_LENGTH],
            words[_STORED_AFTER],
        )

    @intent.setter
    def intent(self, intent: Intent | None) -> None:
        words = self.words
        words[_COMMIT] = 0
        if intent is not None:
            words[_DEVICE], words[_INODE], words[_OFFSET] = intent[:3]
            words[_LENGTH], words[_STORED_AFTER] = intent.length, intent.stored_after & _LAST
            words[_COMMIT] = words[TAIL] + 1

    def unlinked(self) -> bool:
        """Say whether the file was removed under us, so that nobody would find it after a crash."""
        return self.lock is not None and self.lock.unlinked()

    def close(self) -> None:
        """Unmap the ring and give up its lock; the file stays."""
        self.words.release()
        self.data.release()
        # Somebody may still hold a slice; the mapping then goes with the last of them.
        try:
            self.mapping.close()
        except BufferError:
            pass
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def _allocate(descriptor: int, length: int) -> None:
    """Take the room now: a mapped page that cannot be backed kills the process with SIGBUS."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, length)
    else:
        # macOS: its temporary directory is on disk, and a file of zeros takes its room as well.
        os.write(descriptor, bytes(length))


def lines_between(ring: Ring, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield start and end position of every line between two positions, line ends included."""
    content = ring.read(start, end)
    at = 0
    while at < len(content):
        found = content.find(b"\n", at)
        stop = len(content) if found < 0 else found + 1
        yield start + at, start + stop
        at = stop
