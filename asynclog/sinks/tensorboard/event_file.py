"""TensorBoard's event files: named, appended to by whole events, cut back; not what is in them.

An event file is a sequence of TFRecords
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details).
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ..rotation import FILE_MODE, make_directories

_UNFIT: Final = re.compile(r"[^\w.-]")
_FLAGS: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | os.O_APPEND
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def event_file_name(host: str, now: Callable[[], int] = time.time_ns) -> str:
    """Return a name for a new event file.

    TensorBoard reads the files of a directory in the order of their names, and takes nothing from
    one whose name comes before that of the file it reads now. Two starts within a second are in
    order here, too.

    Args:
        host: Name of this machine.
        now: Nanoseconds since 1970.
    """
    seconds, rest = divmod(now(), 1_000_000_000)
    return f"events.out.tfevents.{seconds:010d}.{_UNFIT.sub('_', host)}.{rest:09d}"


class EventFile:
    """A new event file; used by one thread at a time.

    Args:
        path: Where it will be; it must not be there yet.
        checksum: Masked CRC-32C of some bytes.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path, checksum: Callable[[bytes], int]) -> None:
        make_directories(path.parent)
        self._checksum = checksum
        self._descriptor = os.open(path, _FLAGS, FILE_MODE)
        self.size: int = 0

    def append(self, events: Iterable[bytes]) -> None:
        """Append events, all of them or, when it raises, none.

        Raises:
            OSError: It did not work; the same events may be appended again.
        """
        content = memoryview(b"".join(map(self._framed, events)))
        done = 0
        try:
            while done < len(content):
                done += os.write(self._descriptor, content[done:])
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += done

    def removed(self) -> bool:
        """Say whether nobody can find the file any more."""
        return os.fstat(self._descriptor).st_nlink == 0

    def sync(self) -> None:
        """Have the disk hold what was appended."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _framed(self, event: bytes) -> bytes:
        length = struct.pack("<Q", len(event))
        checksums = [struct.pack("<I", self._checksum(part)) for part in (length, event)]
        return b"".join((length, checksums[0], event, checksums[1]))


def cut(path: Path, size: int) -> None:
    """Cut an event file to what is known to be in it; one with nothing in it goes.

    Raises:
        OSError: It cannot be cut.
    """
    try:
        if size <= 0:
            path.unlink()
        elif path.stat().st_size > size:
            os.truncate(path, size)
    except FileNotFoundError:
        pass
