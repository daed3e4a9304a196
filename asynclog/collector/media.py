"""Images from the spool to the run directory: encoded and written once, whatever dies meanwhile.

A snapshot is removed once its image is there under its name. Whoever collects next does again what
was not finished: same name, same bytes.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from pathlib import Path
from typing import Final

import anyio

from .._complain import complain
from ..intake.media import MediaSpool, Picture, Snapshot
from ..sinks.media import is_media_path
from .png import png
from .stats import SinkStats
from .worker import DaemonWorker

NAME: Final = "media"
"""Name under which images are counted, beside the sinks."""
RETRY: Final = 0.5
"""Seconds before a write that failed is tried again."""
_HOPELESS: Final = (errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What is wrong with a name, and will be the next time."""
_FRESH: Final = 1_000_000_000
"""Nanoseconds for which a change may hide another one: time stamps of files have ticks."""


class MediaFiles:
    """Brings snapshots to the run directory; used by one thread at a time.

    Args:
        spool: Where they wait.
        run_dir: Directory of the run.

    Attributes:
        written: Images that were brought there.
        dropped: Images that were not, by reason: ``full`` (no room for the snapshot), ``failed``
            (a snapshot that is none).
    """

    def __init__(self, spool: MediaSpool, run_dir: Path) -> None:
        self.written: int = 0
        self.dropped: Counter[str] = Counter()
        self._spool = spool
        self._run_dir = run_dir

    def bring(self) -> None:
        """Bring over all that waits.

        Raises:
            OSError: The run directory cannot be written. What is not there yet waits on.
        """
        self._spool.sweep()
        while waiting := self._spool.waiting():
            for path in waiting:
                self._bring(path)

    def _bring(self, path: Path) -> None:
        try:
            snapshot = self._spool.read(path)
            content = _content(snapshot)
        except FileNotFoundError:
            return
        except ValueError as error:
            self._fail(error)
        else:
            if content is None:
                self.dropped["full"] += 1
            else:
                self._store(self._run_dir / snapshot.path, content)
        path.unlink(missing_ok=True)

    def _store(self, path: Path, content: bytes) -> None:
        try:
            _write(path, content)
            self.written += 1
        except OSError as error:
            if error.errno not in _HOPELESS:
                raise
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.dropped["failed"] += 1
        complain(f"an image was lost: {error}", kind="media")


class MediaWriter:
    """Looks after the snapshots of a run, on the collector's rounds.

    Args:
        spool: Where they wait.
        run_dir: Directory of the run.
    """

    name: Final = NAME

    def __init__(self, spool: MediaSpool, run_dir: Path) -> None:
        self._spool = spool
        self._files = MediaFiles(spool, run_dir)
        # Its thread begins with the first image: most runs have none.
        self._worker = DaemonWorker(f"asynclog-{NAME}")
        self._seen = -2
        self._wanted = anyio.Event()
        self._progress = anyio.Event()
        self._error: str | None = None

    def look(self) -> None:
        """Find out whether something has come; to be called on every round."""
        change = self._spool.changed()
        if change >= 0 and (change != self._seen or time.time_ns() - change < _FRESH):
            self._seen = change
            self._wanted.set()

    async def run(self) -> None:
        """Bring over what comes until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            try:
                await self._bring()
            except OSError as error:
                self._error = type(error).__name__
                complain(f"cannot write an image, will try again: {error}", kind="image file")
                await anyio.sleep(RETRY)
                self._wanted.set()
            else:
                self._error = None
            self._progress.set()
            self._progress = anyio.Event()

    async def settle(self) -> None:
        """Wait until what waits now is in the run directory."""
        waiting = self._spool.waiting()
        while any(path.exists() for path in waiting):
            self._wanted.set()
            await self._progress.wait()

    def close(self) -> None:
        """Let the thread end after what it is at; what waits then waits for the next start."""
        self._worker.close()

    def stats(self) -> SinkStats | None:
        """Return the counters, None as long as there is nothing to count."""
        files = self._files
        if not (files.written or files.dropped or self._error):
            return None
        return SinkStats(files.written, dict(files.dropped), error=self._error)

    async def _bring(self) -> None:
        try:
            await self._worker.run(self._files.bring)
        except RuntimeError:
            # At the end of a process no thread can be started any more.
            self._files.bring()


def _content(snapshot: Snapshot) -> bytes | None:
    """Return the file that a snapshot becomes, None when there was no room for it.

    Raises:
        ValueError: It makes no sense.
    """
    picture = snapshot.picture
    if not is_media_path(snapshot.path):
        raise ValueError(f"{snapshot.path!r} is not below media")
    if picture is None:
        return None
    data = bytes(picture.data)
    if picture.encoding != "raw":
        return data
    if picture.channels not in (1, 2, 3, 4) or len(data) != _size(picture):
        raise ValueError(f"{snapshot.path} has {len(data)} bytes")
    return png(picture.width, picture.height, picture.channels, data)


def _size(picture: Picture) -> int:
    return picture.width * picture.height * picture.channels


def _write(path: Path, content: bytes) -> None:
    """Write a file that appears under its name when it is whole."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.new"):
        left.unlink(missing_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(unfinished, flags, 0o640), "wb") as file:
            file.write(content)
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
