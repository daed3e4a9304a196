"""The spool directory of a run: where its rings lie, who may use it, who is its collector.

It lies in shared memory, never in the run directory: a mapping of a file on a stalled or network
disk freezes every Python thread of the process (2,008 ms for a disk frozen 2 s, 1 ms in /dev/shm).
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
import uuid
from pathlib import Path
from typing import Any, Final

from .._complain import complain
from ..exceptions import SpoolError
from .locks import FileLock, is_held
from .ring import Origin, Ring, RingFormatError

FALLBACK_RING_SIZE: Final = 256 * 1024
"""Size of the ring when shared memory has no room for the one that was asked for."""

MEDIA: Final = "media"
"""Directory in the spool for images on their way."""

_RING_SUFFIX: Final = ".ring"


def spool_root(spool_dir: Path | None) -> Path:
    """Return the directory that holds the spools of all runs of this user.

    Args:
        spool_dir: Where the user wants it, None for shared memory.
    """
    if spool_dir is None:
        spool_dir = Path("/dev/shm")
        if not spool_dir.is_dir():
            import tempfile

            spool_dir = Path(tempfile.gettempdir())
    return spool_dir / f"asynclog-{os.getuid()}"


class Spool:
    """The spool directory of one run.

    Its name is derived from the run directory's absolute path, so that whoever opens the run later
    finds its rings.

    Args:
        run_dir: Absolute path of the run directory.
        spool_dir: Place of the spools, None for shared memory.
    """

    def __init__(self, run_dir: Path, spool_dir: Path | None = None) -> None:
        # Imported here because it takes a millisecond, and logging alone does not need it.
        from hashlib import sha256

        self.run_dir = run_dir
        real = os.path.realpath(run_dir)
        readable = re.sub(r"[^A-Za-z0-9._-]", "_", run_dir.name)[:40]
        digest = sha256(os.fsencode(real)).hexdigest()[:16]
        self.root: Path = spool_root(spool_dir)
        self.path: Path = self.root / f"{readable}-{digest}"
        self.lock: FileLock = FileLock(self.path / "lock")

    def prepare(self) -> None:
        """Make the directory where it is missing, and check that nobody else can touch it.

        Raises:
            SpoolError: Another user owns it or may write to it, or it is a symbolic link.
            OSError: It cannot be made.
        """
        self.root.parent.mkdir(parents=True, exist_ok=True)
        for directory in (self.root, self.path):
            try:
                os.mkdir(directory, 0o700)
                os.chmod(directory, 0o700)
            except FileExistsError:
                pass
            check_ownership(directory)

    def exists(self) -> bool:
        """Say whether there is a spool for the run that can be used safely.

        Raises:
            SpoolError: There is one, and it cannot.
        """
        for directory in (self.root, self.path):
            if not os.path.lexists(directory):
                return False
            check_ownership(directory)
        return True

    def elect(self) -> bool:
        """Try to become the collector of the run on this machine; say whether we are.

        Raises:
            SpoolError: The directory is not safe, or its lock is no file.
        """
        while True:
            try:
                return self.lock.acquire(create=True)
            except FileNotFoundError:
                # The last collector removed the directory between the two.
                self.prepare()
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EISDIR):
                    raise
                raise SpoolError(
                    self.lock.path, "must be a file, not a link", "Remove it"
                ) from error

    def changed(self) -> int:
        """Return a number that changes when a ring comes or goes, -1 when the directory is gone."""
        try:
            return os.stat(self.path).st_mtime_ns
        except FileNotFoundError:
            return -1

    def rings(self) -> list[Path]:
        """Return the ring files, the oldest first by name."""
        try:
            return sorted(self.path.glob(f"*{_RING_SUFFIX}"))
        except FileNotFoundError:
            return []

    def sweep(self) -> None:
        """Remove rings that were being made when their process died."""
        for path in self.path.glob("*.new"):
            lock = FileLock(path)
            try:
                if lock.acquire():
                    lock.release(unlink=True)
            except OSError:
                continue

    def create_ring(self, size: int, origin: Origin, base: int) -> Ring:
        """Make a ring for this process: of ``size``, else a small one, else private memory.

        Raises:
            SpoolError: The directory is not safe.
        """
        problem: OSError | None = None
        for attempt in (size, min(size, FALLBACK_RING_SIZE)):
            for _ in range(10):
                # The time in front puts the rings of a run in the order they were made.
                name = f"{time.time_ns():020d}-{origin.pid}-{uuid.uuid4().hex[:8]}{_RING_SUFFIX}"
                try:
                    self.prepare()
                    ring = Ring.create(self.path / name, attempt, origin, base)
                except FileNotFoundError as error:
                    # The last collector removed the directory in between: make it again.
                    problem = error
                    continue
                except SpoolError:
                    raise
                except OSError as error:
                    problem = error
                    break
                if attempt < size:
                    complain(f"no room for a ring of {size} bytes in {self.root}: it has {attempt}")
                return ring
        complain(
            f"no ring in {self.root} ({_reason(problem)}): "
            "records are in private memory and do not survive the process"
        )
        return Ring.private(size, origin, base)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Store what a recovery has to know: plain data, atomically."""
        temporary = self.path / f"settings.{os.getpid()}.tmp"
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        os.replace(temporary, self.path / "settings.json")

    def read_settings(self) -> dict[str, Any] | None:
        """Return what :meth:`write_settings` stored, None when there is nothing readable."""
        return settings_in(self.path)

    def leave(self) -> None:
        """Give up being the collector; remove what nobody needs any more.

        That is the directory when nothing is left in it. The lock file goes last and while it is
        held: see :class:`FileLock`.
        """
        self._leave()
        self.tidy()

    def tidy(self) -> None:
        """Remove what ended processes have left, when nobody is left who would.

        Whoever stops while another process collects leaves an empty ring to it. When both stop at
        the same time, the one has looked already, and the other finds the lock taken: so both look
        once more when they are done.
        """
        while self._all_done() and not self.lock.held:
            try:
                if not self.lock.acquire(create=True):
                    return
            except FileNotFoundError:
                return
            self._leave()

    def _leave(self) -> None:
        if self.lock.held and self._all_done():
            for path in self.rings():
                path.unlink(missing_ok=True)
        empty = (
            self.lock.held
            and not self.rings()
            and not any(self.path.glob("*.new"))
            and self._without_media()
        )
        if empty:
            for path in self.path.glob("*.[jt]*"):
                path.unlink(missing_ok=True)
        self.lock.release(unlink=empty)
        if empty:
            try:
                os.rmdir(self.path)
            except OSError as error:
                # Somebody has just come in.
                if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                    raise

    def _all_done(self) -> bool:
        """Say whether there are rings, and all of them are empty and of processes that ended."""
        rings = self.rings()
        return bool(rings) and all(map(_is_done, rings))

    def _without_media(self) -> bool:
        """Remove the directory for images; say whether none waits there for the next start."""
        directory = self.path / MEDIA
        # Those that were being made: without a ring nobody is alive who would finish them.
        for path in directory.glob("*.new"):
            path.unlink(missing_ok=True)
        try:
            os.rmdir(directory)
        except OSError as error:
            return error.errno == errno.ENOENT
        return True


def settings_in(directory: Path) -> dict[str, Any] | None:
    """Return what the run of a spool directory has stored, None when it is not readable."""
    try:
        text = (directory / "settings.json").read_text(encoding="utf-8")
        data = json.loads(text)
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None  # pyright: ignore[reportUnknownVariableType]


def check_ownership(directory: Path) -> None:
    """See that a directory of spools is ours, and closed to others.

    Raises:
        SpoolError: It is not.
    """
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode):
        raise SpoolError(directory, "must be a directory, not a link or a file", "Remove it")
    if status.st_uid != os.geteuid():
        raise SpoolError(
            directory,
            f"must belong to user {os.geteuid()}, not to {status.st_uid}",
            "Remove it, or give another place by spool_dir",
        )
    if status.st_mode & 0o077:
        raise SpoolError(
            directory,
            f"must be closed to others (mode 0700, not {stat.S_IMODE(status.st_mode):04o})",
            f"Check what is in it, then: chmod 700 {directory}",
        )


def _reason(problem: OSError | None) -> str:
    return (problem.strerror or str(problem)) if problem else "unknown reason"


def _is_done(path: Path) -> bool:
    """Say whether a ring is empty, and nobody will fill it any more."""
    if is_held(path):
        return False
    try:
        ring = Ring.open(path, read_only=True)
    except (OSError, RingFormatError):
        return False
    try:
        return ring.head == ring.tail
    finally:
        ring.close()
