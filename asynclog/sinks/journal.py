"""Journal: reads a rotated file from a place on, whatever the parts are called by now.

The counterpart of the rotating file: it writes nothing, and knows lines, not what they mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from .backups import identified_set
from .parts import Part, index_of, last_line_end, mark_of, open_named
from .rotation import Position

DEFAULT_PIECE: Final = 256 * 1024
"""Bytes read at once; a longer line is read whole all the same."""
_ATTEMPTS: Final = 50


class Place(NamedTuple):
    """A place in a rotated set of files.

    Attributes:
        mark: Tells the file by the beginning of its first line, which neither renaming nor
            compressing changes; empty for the beginning of the oldest file.
        offset: Bytes of that file before the place, as it is uncompressed.
    """

    mark: str = ""
    offset: int = 0


class Journal:
    """Reads on from a place; used by one thread at a time.

    A part that is rotated, renamed or compressed while it is read is read to its end, and the
    next one follows. A part that was removed before its turn leaves a gap, which is counted, and
    so does one that cannot be decompressed to its end.

    Args:
        path: The current file, as its writer names it.
        place: Where to begin.
        written: Returns how far the writer's current file holds whole lines; what lies behind may
            be cut back. None when nobody writes.

    Attributes:
        place: Up to where lines were returned.
        gaps: How often the part that was to be read next was gone, or damaged.
    """

    def __init__(
        self,
        path: Path,
        place: Place = Place(),  # noqa: B008 - immutable
        written: Callable[[], Position] | None = None,
    ) -> None:
        self._path = path
        self._written = written
        self._part: Part | None = None
        self._offset = 0
        self.place: Place = place
        self.gaps: int = 0

    def read(self, size: int = DEFAULT_PIECE) -> bytes:
        """Return some whole lines behind the place and move it there; empty when there are none.

        Args:
            size: About how many bytes; a longer line is returned whole.

        Raises:
            OSError: A part cannot be read; the next call tries anew.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return self._read(size)
            except OSError as error:
                self.close()
                # a part got another name between our look and its opening: look again
                if not isinstance(error, FileNotFoundError) or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _read(self, size: int) -> bytes:
        part = self._part or self._open()
        while part is not None:
            lines = self._lines(part, size)
            if lines:
                self._offset += len(lines)
                self.place = Place(mark_of(part), self._offset)
                return lines
            part = self._next(part)
        return b""

    def to_end(self) -> None:
        """Move the place behind every whole line that is there now.

        Raises:
            OSError: The file cannot be read.
        """
        self.close()
        for attempt in range(_ATTEMPTS):
            try:
                self.place = self._end()
                return
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise

    def _end(self) -> Place:
        for named in reversed(identified_set(self._path)):
            part = open_named(named)
            try:
                mark = mark_of(part)
                if mark:
                    return Place(mark, last_line_end(part, self._whole(part, part.size())))
            finally:
                part.close()
        return Place()

    def close(self) -> None:
        """Close the part that is open; :meth:`read` opens it again."""
        part, self._part = self._part, None
        if part is not None:
            part.close()

    def _lines(self, part: Part, size: int) -> bytes:
        """Return whole lines of a part from where we are; empty at its end."""
        while True:
            piece = part.read_at(self._offset, size)
            # asked after reading: what is whole now was whole when it was read, or is not there
            end = self._whole(part, self._offset + len(piece)) - self._offset
            lines = piece[: max(0, end)]
            lines = lines[: lines.rfind(b"\n") + 1]
            if lines or len(piece) < size:
                return lines
            size *= 2

    def _whole(self, part: Part, end: int) -> int:
        """Return up to where a part holds whole lines, at most ``end``."""
        if self._written is None or part.identity is None:
            return end
        position = self._written()
        current = (position.device, position.inode) == part.identity
        return min(end, position.offset) if current else end

    def _open(self) -> Part | None:
        """Open the part that the place is in; None when there is nothing at all yet."""
        parts = identified_set(self._path)
        if not parts:
            return None
        self._offset = self.place.offset
        if self.place.mark:
            # the newest first: the place is nearly always in the current file
            for named in reversed(parts):
                part = self._part = open_named(named)
                if mark_of(part) == self.place.mark:
                    self._cut(part)
                    return part
                self.close()
            self.gaps += 1
        self._offset = 0
        self._part = open_named(parts[0])
        return self._part

    def _cut(self, part: Part) -> bool:
        """Begin anew in a file that somebody has emptied under its writer; say whether it was."""
        cut = part.identity is not None and part.size() < self._offset
        if cut:
            self._offset = 0
        return cut

    def _next(self, part: Part) -> Part | None:
        """Return the part to go on with when one is read to its end; None when there is none."""
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            # between a rotation and the next line; there may be parts to read all the same
            status = None
        if status is not None and part.identity == (status.st_dev, status.st_ino):
            return part if self._cut(part) else None
        if self._lines(part, 1):
            # written between our look and the rotation
            return part
        parts = identified_set(self._path)
        at = index_of(parts, part)
        if not parts or at == len(parts) - 1:
            return None
        self.gaps += part.damaged + (at is None)
        following = open_named(parts[0 if at is None else at + 1])
        self.close()
        self._offset = 0
        self._part = following
        return following
