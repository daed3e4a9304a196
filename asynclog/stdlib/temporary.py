"""The run directory of a process that writes no file: private, and gone at the end.

A run needs one for its lock. What a killed process leaves, the next one removes: the directory,
and the ring in shared memory, which nobody would ever read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from .._lifecycle import call_last
from ..intake.locks import FileLock
from ..intake.spool import Spool

YOUNG: Final = 60.0
"""Seconds for which a directory without a lock may belong to a process that is just starting."""


_current: tuple[int, Path] | None = None
"""The process that made the run directory, and that."""


def run_dir() -> Path | None:
    """Return this process's run directory; None when the environment names one."""
    global _current
    if os.environ.get("ASYNCLOG_RUN_DIR"):
        return None
    if _current is None or _current[0] != os.getpid() or not _current[1].is_dir():
        _current = os.getpid(), _make()
    return _current[1]


def leave() -> None:
    """Remove this process's run directory, if there is one."""
    global _current
    if _current is not None and _current[0] == os.getpid():
        shutil.rmtree(_current[1], ignore_errors=True)
    _current = None


def _make() -> Path:
    """Make a run directory, and remove those of processes that were killed."""
    spool_dir = os.environ.get("ASYNCLOG_SPOOL_DIR")
    prefix = f"asynclog-console-{os.getuid()}-"
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            if _is_abandoned(path):
                _remove_rings(Spool(path, Path(spool_dir) if spool_dir else None))
                shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=prefix))


def _is_abandoned(path: Path) -> bool:
    from ..collector.plan import RUN_LOCK

    status = path.lstat()
    if status.st_uid != os.getuid() or time.time() - status.st_mtime < YOUNG:
        return False
    lock = FileLock(path / RUN_LOCK)
    try:
        free = lock.acquire()
    except FileNotFoundError:
        return True
    lock.release()
    return free


def _remove_rings(spool: Spool) -> None:
    """Remove the rings of dead processes; those of living ones keep their directory alive."""
    if not spool.exists() or not spool.elect():
        return
    try:
        for path in spool.rings():
            lock = FileLock(path)
            if lock.acquire():
                lock.release(unlink=True)
        spool.sweep()
    finally:
        spool.leave()


call_last(leave)
