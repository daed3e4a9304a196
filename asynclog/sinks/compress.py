"""Compresses rotated files in a daemon thread of its own, so that writing goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from .._complain import complain
from .backups import COMPRESSED_SUFFIX, UNFINISHED_SUFFIX

GZIP_LEVEL: Final = 3
"""100 MB of log lines take 0.3 s of CPU time and become 11 MB; level 6 takes 0.7 s for 10 MB."""
CHUNK: Final = 1 << 18
"""Bytes compressed at once, with the interpreter lock released."""
CLOSE_PATIENCE: Final = 0.5
"""Seconds that closing waits for a compression before it gives it up; the next open redoes it."""

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW if os.name == "posix" else getattr(os, "O_BINARY", 0)


class Compressor:
    """Turns files into ``.gz`` files, one after the other; used by one thread."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self, paths: Sequence[Path]) -> None:
        """Compress some files in the background, after those that are under way."""
        self.wait()
        if not paths:
            return
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._run, args=(paths,), name="asynclog-compress", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:
            # The process is ending: the files stay as they are.
            self._thread = None

    def wait(self) -> None:
        """Wait until nothing is under way."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Wait a moment for what is under way, then give it up."""
        if self._thread is not None:
            self._thread.join(CLOSE_PATIENCE)
            self._stop.set()
            self._thread.join(CLOSE_PATIENCE)
            self._thread = None

    def _run(self, paths: Sequence[Path]) -> None:
        for path in paths:
            try:
                compress_file(path, self._stop.is_set)
            except OSError as error:
                # the plain file stays and counts
                complain(f"cannot compress a rotated log file: {error}", kind="compress")


def compress_file(path: Path, given_up: Callable[[], bool] = lambda: False) -> None:
    """Replace a file by its compressed twin ``path + ".gz"``.

    The twin takes its name when it is whole and on the disk, and only then the plain file goes.
    A kill in between leaves both; the plain one counts.

    Args:
        path: A regular file that nobody writes to any more.
        given_up: Asked now and then; when it says True, everything is left as it was.
    """
    import gzip

    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    unfinished.unlink(missing_ok=True)
    source = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        status = os.fstat(source)
        target = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o640)
        try:
            with (
                os.fdopen(target, "wb") as raw,
                gzip.GzipFile(
                    filename="",
                    mode="wb",
                    compresslevel=GZIP_LEVEL,
                    fileobj=raw,
                    mtime=status.st_mtime,
                ) as packed,
            ):
                while chunk := os.read(source, CHUNK):
                    if given_up():
                        raise InterruptedError
                    packed.write(chunk)
                packed.close()
                raw.flush()
                # a power cut must not leave an empty twin of a file that is gone
                os.fsync(raw.fileno())
            os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.replace(unfinished, path.with_name(path.name + COMPRESSED_SUFFIX))
        except BaseException as error:
            unfinished.unlink(missing_ok=True)
            if isinstance(error, InterruptedError):
                return
            raise
    finally:
        os.close(source)
    path.unlink()
