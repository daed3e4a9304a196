"""One file that is appended to, rotates by size, and comes back after whatever happens to it.

It knows bytes, not lines: what a line is, and what was promised about it, is the caller's business.
Everything that can fail raises :class:`OSError` and can be tried again; no state is lost by it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from .._levels import LEVELS, parse_level
from .backups import Backups
from .compress import Compressor

FILE_MODE: Final = 0o640
DIRECTORY_MODE: Final = 0o700
LOOK_INTERVAL: Final = 0.5
"""Seconds between looks whether the file still is where it was; a look costs 2 us on a local disk
and much more on a network one. That it was removed is seen at once, without a look."""

_MAX_PIECES: Final = 512
_FLAGS: Final = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NOCTTY", 0)
    # a FIFO in the file's place is refused instead of waited for
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class Position(NamedTuple):
    """Where the next bytes will go.

    Attributes:
        device: ``st_dev`` of the file.
        inode: ``st_ino`` of the file.
        offset: Bytes before them.
    """

    device: int
    inode: int
    offset: int


class RotatingFile:
    """A file that is appended to and rotated by size; used by one thread at a time.

    Rotation renames ``events.jsonl`` to ``events.jsonl.1``, that one to ``.2`` and so on. It only
    happens inside :meth:`prepare`. Directories that are missing are made (0700), the file gets
    mode 0640 less the process's umask. A symbolic link in the file's place is refused.

    Args:
        path: The file; made at the first :meth:`prepare`.
        max_bytes: Size that :meth:`prepare` keeps the file within, None for no limit. Only bytes
            that are more than this by themselves make a larger file.
        backups: How many rotated files to keep; 0 removes the file instead of renaming it.
        compress: Turn rotated files into ``.1.gz`` and so on, in a thread of its own. The next
            rotation waits for it.
        fsync: ``"never"``; ``"batch"``: after every :meth:`append`, which then takes as long as
            the disk does (milliseconds); or the name of a level: after every :meth:`append` with
            a line of that level or above. A killed process loses nothing without it, a power cut
            may.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None,
        backups: int,
        compress: bool = False,
        fsync: str = "never",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path: Path = Path(os.path.abspath(path))
        self.max_bytes = max_bytes
        self.backups = backups
        self.fsync = fsync
        self._sync_marks = () if fsync in ("never", "batch") else _level_marks(fsync)
        self._compressor = Compressor() if compress and backups else None
        self._clock = clock
        self._descriptor: int | None = None
        self._next_look = 0.0
        self._position = Position(0, 0, 0)
        self._settled = False
        self._file_too_large = False

    def prepare(self, size: int) -> Position:
        """Get ready to append ``size`` bytes: open the file, and rotate it if they do not fit.

        The first call also removes what an earlier rotation left half-done, and a file that ends
        within a line gets its line end. Whoever wants to repair that line does so before.

        Returns:
            Where the bytes will go.

        Raises:
            OSError: The file cannot be opened or rotated; the next call tries anew.
        """
        descriptor = self._descriptor
        if descriptor is not None and self._gone(descriptor):
            self._drop()
            descriptor = None
        if descriptor is None:
            descriptor = self._open()
        try:
            status = os.fstat(descriptor)
            limit = self.max_bytes
            too_large = limit is not None and status.st_size + size > limit
            if status.st_size and (too_large or self._file_too_large):
                descriptor = self._rotate(status)
                status = os.fstat(descriptor)
        except OSError:
            self._drop()
            raise
        self._file_too_large = False
        self._position = Position(status.st_dev, status.st_ino, status.st_size)
        return self._position

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Append all bytes of the pieces where :meth:`prepare` said, and fsync if that is due.

        Raises:
            OSError: Nothing of it remains in the file, unless another program has written behind
                it or it cannot even be cut; prepare and append again.
        """
        descriptor = self._descriptor
        if descriptor is None:
            raise OSError(errno.EBADF, "is not open; prepare() comes first", str(self.path))
        written = 0
        views = [memoryview(piece) for piece in pieces if len(piece)]
        try:
            while views:
                count = _write(descriptor, views)
                written += count
                views = _rest(views, count)
            if self._sync_due(pieces):
                os.fsync(descriptor)
        except OSError as error:
            # the rotated set may still have room where one file has not
            self._file_too_large = error.errno == errno.EFBIG
            self._cut_back(descriptor, written)
            self._drop()
            raise
        self._position = self._position._replace(offset=self._position.offset + written)

    def write(self, content: bytes) -> None:
        r"""Prepare and append whole lines; more than ``max_bytes`` are split at line ends.

        Raises:
            OSError: It did not work. Of content that had to be split, earlier parts remain.
        """
        limit = self.max_bytes
        if limit is None or len(content) <= limit:
            limit = len(content)
        start = 0
        while start < len(content):
            end = start + limit
            if end < len(content):
                cut = content.rfind(b"\n", start, end) + 1
                # a line longer than the limit gets a file of its own
                end = cut or content.find(b"\n", end) + 1 or len(content)
            self.prepare(min(end, len(content)) - start)
            self.append((memoryview(content)[start:end],))
            start = end

    def written(self) -> Position:
        """Return how far the current file holds whole appends; may be called from any thread."""
        return self._position

    def find(self, device: int, inode: int) -> Path | None:
        """Return the path of a file by its identity, whatever its name in this directory is now."""
        try:
            entries = list(os.scandir(self.path.parent))
        except (FileNotFoundError, NotADirectoryError):
            return None
        for entry in entries:
            if entry.inode() != inode:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_dev == device:
                return Path(entry.path)
        return None

    def size(self) -> int:
        """Return the size of the current file in bytes, 0 while there is none."""
        try:
            return os.stat(self.path, follow_symlinks=False).st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def sync(self) -> None:
        """Have the disk hold what was appended."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; :meth:`prepare` opens it again. Never raises."""
        self._drop()
        if self._compressor is not None:
            self._compressor.close()
            self._settled = False

    def _gone(self, descriptor: int) -> bool:
        """Say whether the open file is no longer the one that the path leads to."""
        try:
            ours = os.fstat(descriptor)
            if not ours.st_nlink:
                return True
            now = self._clock()
            if now < self._next_look:
                return False
            self._next_look = now + LOOK_INTERVAL
            there = os.stat(self.path, follow_symlinks=False)
        except OSError:
            # whatever it is, opening it anew finds out
            return True
        return not os.path.samestat(ours, there)

    def _open(self) -> int:
        if not self._settled:
            self._settle()
        try:
            descriptor = os.open(self.path, _FLAGS, FILE_MODE)
        except FileNotFoundError:
            make_directories(self.path.parent)
            descriptor = os.open(self.path, _FLAGS, FILE_MODE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(
                    errno.ELOOP, "is a symbolic link, which is refused", str(self.path)
                ) from None
            raise
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "is no regular file", str(self.path))
            if status.st_size:
                _end_line(descriptor, status.st_size)
            elif self.fsync != "never":
                _sync_directory(self.path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._next_look = self._clock() + LOOK_INTERVAL
        return descriptor

    def _settle(self) -> None:
        """Finish or undo what an earlier process left half-done."""
        backups = Backups.look(self.path).settle()
        if self._compressor is not None:
            self._compressor.start([backups.name(number) for number in sorted(backups.plain)])
        self._settled = True

    def _rotate(self, ours: os.stat_result) -> int:
        if self._compressor is not None:
            self._compressor.wait()
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        # before anything is renamed: an open file cannot be, on Windows
        self._drop()
        if there is not None and os.path.samestat(ours, there):
            self._move_aside()
        # else somebody else has moved it already
        return self._open()

    def _move_aside(self) -> None:
        if not self.backups:
            self.path.unlink()
            return
        backup = Backups.look(self.path).make_room(self.backups)
        os.rename(self.path, backup)
        if self._compressor is not None:
            self._compressor.start([backup])

    def _cut_back(self, descriptor: int, written: int) -> None:
        """Remove what a failed append has written, where that is all that lies behind."""
        begin = self._position.offset
        try:
            if written and os.fstat(descriptor).st_size == begin + written:
                os.ftruncate(descriptor, begin)
        except OSError:
            # a torn line stays; the next open ends it
            pass

    def _sync_due(self, pieces: Sequence[bytes | memoryview]) -> bool:
        if self.fsync == "never":
            return False
        if not self._sync_marks:
            return True
        content = b"".join(pieces)
        # the same bytes in a nested field cost a needless fsync, no more
        return any(mark in content for mark in self._sync_marks)

    def _drop(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError:
                pass


def make_directories(path: Path) -> None:
    """Make a directory and its parents, each with mode 0700."""
    try:
        path.mkdir(DIRECTORY_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
    except FileNotFoundError:
        make_directories(path.parent)
        path.mkdir(DIRECTORY_MODE, exist_ok=True)


def _level_marks(level: str) -> tuple[bytes, ...]:
    """Return how a line of the level or above can be told by its bytes."""
    lowest = parse_level(level, "fsync")
    return tuple(
        b'"level":"%b"' % name.encode() for name, number in LEVELS.items() if number >= lowest
    ) or (b'"level":"critical"',)


def _write(descriptor: int, views: list[memoryview]) -> int:
    if len(views) > 1 and hasattr(os, "writev"):
        count = os.writev(descriptor, views[:_MAX_PIECES])
    else:
        count = os.write(descriptor, views[0])
    if count <= 0:
        raise OSError(errno.ENOSPC, "takes no more bytes")
    return count


def _rest(views: list[memoryview], written: int) -> list[memoryview]:
    for index, view in enumerate(views):
        if written < len(view):
            return [view[written:], *views[index + 1 :]]
        written -= len(view)
    return []


def _end_line(descriptor: int, size: int) -> None:
    """Give the last line its end, if a kill or a power cut has left it without."""
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    if os.read(descriptor, 1) not in (b"\n", b""):
        os.write(descriptor, b"\n")


def _sync_directory(path: Path) -> None:
    """Have the disk hold the directory's new name."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        # no directory can be opened on Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
