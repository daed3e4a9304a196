"""Reads one rotated set of files: forwards between two places, backwards from one, and by time.

It knows lines and their times, not what they say.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from ..sinks.backups import identified_set
from ..sinks.journal import DEFAULT_PIECE, Journal, Place
from ..sinks.parts import Part, index_of, last_line_end, mark_of, open_named
from .lines import FIRST, key_of, time_of

SLACK: Final = 60.0
"""Seconds that a line may stand behind later ones, where files are searched by time."""

_NEAR: Final = 64 * 1024
"""Bytes that are read rather than searched."""
_ATTEMPTS: Final = 50


def end_of(path: Path) -> Place:
    """Return the place behind the last whole line of a rotated set.

    Raises:
        OSError: It cannot be read.
    """
    journal = Journal(path)
    journal.to_end()
    return journal.place


class Pieces:
    """The lines of a rotated set between two places, some at a time.

    Args:
        path: The current file of the set.
        start: Where to begin.
        end: Where to end, None for what is there when it is reached.
        size: About how many bytes at a time.
        keep_open: Keep the file open between two pieces.

    Attributes:
        gaps: Parts that were gone before they were read, or damaged.
    """

    def __init__(
        self,
        path: Path,
        start: Place,
        end: Place | None,
        size: int = DEFAULT_PIECE,
        *,
        keep_open: bool = True,
    ) -> None:
        self._journal = Journal(path, start)
        self._end = end
        self._size = size
        self._keep_open = keep_open
        self._missed = 0

    @property
    def gaps(self) -> int:
        """Parts that were gone before they were read, or damaged."""
        return self._journal.gaps + self._missed

    def __iter__(self) -> Iterator[bytes]:
        """Yield whole lines.

        Raises:
            OSError: The file cannot be read.
        """
        journal, end = self._journal, self._end
        if end is not None and (not end.mark or journal.place == end):
            return
        try:
            while lines := self._read():
                place = journal.place
                if end is not None and place.mark == end.mark and place.offset >= end.offset:
                    lines = lines[: len(lines) - (place.offset - end.offset)]
                    if lines:
                        yield lines
                    return
                yield lines
        finally:
            journal.close()

    def _read(self) -> bytes:
        lines = self._journal.read(self._size)
        if not self._keep_open:
            self._journal.close()
        if not lines and self._end is not None:
            # the place to end at was there, and is not any more
            self._missed += 1
        return lines


def pieces(path: Path, start: Place, end: Place | None) -> Iterator[bytes]:
    """Yield the lines of a rotated set between two places; see :class:`Pieces`."""
    return iter(Pieces(path, start, end))


def backwards(path: Path, end: Place, size: int = DEFAULT_PIECE) -> Iterator[bytes]:
    """Yield the lines of a rotated set before a place, the last piece first, each in file order.

    Nothing that lies before the pieces that are asked for is read; of compressed parts all is.

    Args:
        path: The current file of the set.
        end: Place behind the last line.
        size: About how many bytes at a time.

    Raises:
        OSError: The file cannot be read.
    """
    part = _part_at(path, end) if end.mark else None
    until: int | None = end.offset
    while part is not None:
        try:
            yield from _part_backwards(part, until, size)
            before = _part_before(path, part)
        finally:
            part.close()
        part, until = before, None


def _part_at(path: Path, place: Place) -> Part | None:
    """Open the part that a place is in, None when it is gone."""
    for _ in range(_ATTEMPTS):
        try:
            for named in reversed(identified_set(path)):
                part = open_named(named)
                if mark_of(part) == place.mark:
                    return part
                part.close()
            return None
        except FileNotFoundError:
            # renamed between our look and its opening
            continue
    return None


def _part_before(path: Path, part: Part) -> Part | None:
    """Open the part before one that is open, None when there is none."""
    for _ in range(_ATTEMPTS):
        try:
            parts = identified_set(path)
            at = index_of(parts, part)
            return open_named(parts[at - 1]) if at else None
        except FileNotFoundError:
            continue
    return None


def place_before(path: Path, key: bytes) -> Place:
    """Return a place before all lines of a time and later, not far before where it can be found.

    Args:
        path: The current file of the set.
        key: Time as it compares with those of lines.
    """
    if key == FIRST:
        return Place()
    found = Place()
    for named in identified_set(path):
        try:
            part = open_named(named)
        except FileNotFoundError:
            # renamed meanwhile: what was found until here is early enough
            break
        try:
            first = time_of(part.read_at(0, _NEAR).partition(b"\n")[0])
            mark = mark_of(part)
            if not mark or (first is not None and first >= key):
                break
            found = Place(mark, 0 if part.identity is None else _search(part, key))
        finally:
            part.close()
    return found


def with_slack(key: bytes, seconds: float) -> bytes:
    """Return a time moved by some seconds; one that is no time stays as it is."""
    from datetime import UTC, datetime, timedelta

    try:
        time = datetime.fromisoformat(key.decode()).replace(tzinfo=UTC)
        return key_of(time + timedelta(seconds=seconds))
    except (ValueError, OverflowError):
        return key


def _search(part: Part, key: bytes) -> int:
    """Return the beginning of a line before all those of a time and later, as far as in order."""
    low, high = 0, part.size()
    while high - low > _NEAR:
        middle = (low + high) // 2
        piece = part.read_at(middle, _NEAR)
        begin = piece.find(b"\n") + 1
        stop = piece.find(b"\n", begin)
        time = time_of(piece[begin:stop]) if begin and stop > 0 else None
        if time is not None and time < key:
            low = middle + begin
        else:
            high = middle
    return low


def _part_backwards(part: Part, end: int | None, size: int) -> Iterator[bytes]:
    if part.identity is None:
        with tempfile.TemporaryFile() as copy:
            # compressed files can only be read forwards
            at = 0
            while (end is None or at < end) and (piece := part.read_at(at, DEFAULT_PIECE)):
                copy.write(piece)
                at += len(piece)
            unpacked = _Unpacked(copy)
            yield from _blocks(unpacked, at if end is None else min(at, end), size)
        return
    yield from _blocks(part, part.size() if end is None else end, size)


class _Unpacked:
    """A compressed part, unpacked to a file without a name."""

    identity: tuple[int, int] | None = None
    inode: tuple[int, int] = (0, 0)
    damaged = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read_at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def size(self) -> int:
        return self._file.seek(0, 2)

    def close(self) -> None:
        self._file.close()


def _blocks(part: Part, end: int, size: int) -> Iterator[bytes]:
    end = last_line_end(part, end)
    while end > 0:
        begin = max(0, end - size)
        block = part.read_at(begin, end - begin)
        if begin:
            # what stands before the first line end belongs to the next block
            cut = block.find(b"\n", 0, len(block) - 1) + 1
            while not cut and begin:
                begin = max(0, begin - size)
                block = part.read_at(begin, end - begin)
                cut = block.find(b"\n", 0, len(block) - 1) + 1 if begin else 0
            block = block[cut:]
            begin += cut
        yield block
        end = begin
