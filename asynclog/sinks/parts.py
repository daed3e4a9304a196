"""The files of a rotated set, open for reading: as they lie on the disk, or compressed."""

from __future__ import annotations

import errno
import gzip
import os
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

from .backups import COMPRESSED_SUFFIX, Named

_MARKED: Final = 4096
_PIECE: Final = 256 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class Part(Protocol):
    """One open file of the set."""

    identity: tuple[int, int] | None
    """Device and inode of a plain file, None of a compressed one."""
    inode: tuple[int, int]
    """Device and inode of either."""
    damaged: bool
    """Whether bytes were found that cannot be decompressed; the part then ends before them."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return so many bytes from a place on, fewer at the end."""
        ...

    def size(self) -> int:
        """Return the bytes there are, uncompressed."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class _Plain:
    """A part that is open as it lies on the disk; it stays readable when it is renamed."""

    damaged = False

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, _FLAGS)
        status = os.fstat(self._descriptor)
        self.inode: tuple[int, int] = (status.st_dev, status.st_ino)
        self.identity: tuple[int, int] | None = self.inode

    def read_at(self, offset: int, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = os.pread(self._descriptor, size - len(found), offset + len(found))
            if not piece:
                break
            found += piece
        return found

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        os.close(self._descriptor)


class _Compressed:
    """A part that was compressed; nothing is added to it any more."""

    identity: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, _FLAGS)
        status = os.fstat(descriptor)
        self.inode: tuple[int, int] = (status.st_dev, status.st_ino)
        self._raw = os.fdopen(descriptor, "rb")
        self._file = gzip.GzipFile(fileobj=self._raw)
        self.damaged: bool = False
        # asked for again and again, and going back means to decompress anew
        self._beginning = self._read(_MARKED)

    def read_at(self, offset: int, size: int) -> bytes:
        if offset == 0 and size <= _MARKED:
            return self._beginning[:size]
        return self._read(size, offset)

    def size(self) -> int:
        self._read(0, 0)
        while self._read(_PIECE):
            pass
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        self._raw.close()

    def _read(self, size: int, offset: int | None = None) -> bytes:
        found = bytearray()
        try:
            if offset is not None and self._file.tell() != offset:
                self._file.seek(offset)
            # a little at a time: what is read together with the damage is lost
            while len(found) < size and (piece := self._file.read1(size - len(found))):
                found += piece
        except (EOFError, gzip.BadGzipFile, zlib.error):
            self.damaged = True
        return bytes(found)


def open_part(path: Path) -> Part:
    """Open a file of the set for reading.

    Raises:
        OSError: It cannot be opened.
    """
    return _Compressed(path) if path.name.endswith(COMPRESSED_SUFFIX) else _Plain(path)


def open_named(named: Named) -> Part:
    """Open a file of the set that was looked at before.

    Raises:
        FileNotFoundError: Its name was taken away, or means another file by now: look again.
        OSError: It cannot be opened.
    """
    part = open_part(named.path)
    if part.inode != named.inode:
        part.close()
        raise FileNotFoundError(errno.ENOENT, "was renamed", str(named.path))
    return part


def index_of(parts: Sequence[Named], part: Part) -> int | None:
    """Return where in the set an open part is, None when it is gone.

    Raises:
        OSError: As :func:`open_named`.
    """
    for at, named in enumerate(parts):
        if named.inode == part.inode:
            return at
    mark = mark_of(part)
    # the newest first: should two parts begin alike, a reader comes to an end this way
    for at in range(len(parts) - 1, -1, -1):
        # it may have been compressed since it was opened
        if mark and part.identity and parts[at].path.name.endswith(COMPRESSED_SUFFIX):
            other = open_named(parts[at])
            try:
                if mark_of(other) == mark:
                    return at
            finally:
                other.close()
    return None


def mark_of(part: Part) -> str:
    """Return what tells a part from the others; empty while it has no whole line."""
    beginning = part.read_at(0, _MARKED)
    line, end, _ = beginning.partition(b"\n")
    if not end and len(beginning) < _MARKED:
        return ""
    return blake2b(line, digest_size=16).hexdigest()


def last_line_end(part: Part, end: int) -> int:
    """Return up to where a part holds whole lines, at most ``end``."""
    while end > 0:
        begin = max(0, end - _MARKED)
        found = part.read_at(begin, end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
