r"""Images on their way to the run directory: snapshots of pixels in the run's spool.

A snapshot is one file: a line of JSON that says where it has to go and what it is, then the bytes.
It appears under its name only once it is whole, so a kill leaves nothing half-made.

    {"path": "media/images/x.png", "encoding": "raw", "width": 2, "height": 1, "channels": 3}\n...
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final, NamedTuple

from .._json import dumps, loads
from ..exceptions import SpoolError
from .spool import MEDIA, Spool

MAX_WAITING: Final = 64 << 20
"""Bytes of images that may wait for the collector, of all processes of a run."""
MAX_DROPPED_MARKS: Final = 1000
"""Files that may wait to say that an image was dropped."""
ABANDONED: Final = 10.0
"""Seconds after which a snapshot that is still being made has lost its maker: it takes
milliseconds."""
_SUFFIX: Final = ".snapshot"
_UNFINISHED: Final = ".new"


class Picture(NamedTuple):
    """An image as bytes.

    Attributes:
        encoding: ``"raw"`` for rows of 8-bit samples, ``"png"`` or ``"jpg"`` for a whole file.
        width: Pixels.
        height: Pixels.
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; 0 for a file, which says so itself.
        data: The bytes, of whatever object lends them.
    """

    encoding: str
    width: int
    height: int
    channels: int
    data: bytes | bytearray | memoryview


class Snapshot(NamedTuple):
    """What waits in a spool.

    Attributes:
        path: Where it has to go, relative to the run directory.
        picture: The image; None for one that was dropped.
    """

    path: str
    picture: Picture | None


class MediaSpool:
    """The snapshots of a run that wait for its collector.

    Args:
        spool: The run's spool.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.path: Path = spool.path / MEDIA

    def put(self, path: str, picture: Picture) -> Path | None:
        """Store a snapshot; return its file, None when there is no room.

        Args:
            path: Where the image has to go, relative to the run directory.
            picture: The image.
        """
        header: dict[str, object] = {"path": path, **picture._asdict()}
        del header["data"]
        data = memoryview(picture.data).cast("B")
        if self.path.is_symlink():
            return None
        if self._waiting_bytes() + len(data) > MAX_WAITING:
            self._mark_dropped(path)
            return None
        try:
            return self._write(header, data)
        except OSError:
            return None

    def waiting(self) -> list[Path]:
        """Return the snapshots, the oldest first."""
        if self.path.is_symlink():
            return []
        try:
            with os.scandir(self.path) as entries:
                return sorted(
                    self.path / entry.name
                    for entry in entries
                    if entry.name.endswith(_SUFFIX) and not entry.is_dir(follow_symlinks=False)
                )
        except OSError:
            return []

    def changed(self) -> int:
        """Return a number that changes when a snapshot comes or goes, -1 when there is none."""
        try:
            return os.stat(self.path).st_mtime_ns
        except OSError:
            return -1

    @staticmethod
    def read(path: Path) -> Snapshot:
        """Read a snapshot.

        Raises:
            OSError: It cannot be read.
            ValueError: It is none.
        """
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise ValueError(f"{path.name} is no file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            try:
                header = loads(file.readline(1 << 16))
                target = header["path"]
                if "encoding" not in header:
                    return Snapshot(target, None)
                shape = (header["width"], header["height"], header["channels"])
                if not all(type(number) is int and number >= 0 for number in shape):
                    raise ValueError(f"no snapshot: it measures {list(shape)}")
                return Snapshot(target, Picture(header["encoding"], *shape, file.read()))
            except (KeyError, TypeError) as error:
                raise ValueError(f"no snapshot: {error}") from error

    def sweep(self, *, now: bool = False) -> None:
        """Remove snapshots whose maker died over them; ``now`` when nobody can be making any."""
        limit = time.time() - ABANDONED
        for path in self.path.glob(f"*{_UNFINISHED}"):
            try:
                if now or path.stat().st_mtime < limit:
                    path.unlink()
            except OSError:
                continue

    def _waiting_bytes(self) -> int:
        total = 0
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    try:
                        total += entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue  # the collector has just taken it
        except OSError:
            pass
        return total

    def _mark_dropped(self, path: str) -> None:
        """Leave word for the collector, which counts."""
        try:
            waiting = os.listdir(self.path) if self.path.exists() else []
            if len(waiting) < MAX_DROPPED_MARKS:
                self._write({"path": path}, memoryview(b""))
        except OSError:
            pass

    def _write(self, header: dict[str, object], data: memoryview) -> Path:
        name = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}"
        unfinished = self.path / f"{name}{_UNFINISHED}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(unfinished, flags, 0o600)
        except FileNotFoundError:
            self._make_directory()
            descriptor = os.open(unfinished, flags, 0o600)
        try:
            with open(descriptor, "wb", buffering=0) as file:
                for piece in (memoryview(dumps(header) + b"\n"), data):
                    rest = piece
                    while rest:
                        rest = rest[file.write(rest) :]
            finished = unfinished.with_suffix(_SUFFIX)
            os.rename(unfinished, finished)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        return finished

    def _make_directory(self) -> None:
        try:
            self._spool.prepare()
        except SpoolError as error:
            raise OSError(str(error)) from error
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            pass
