"""Locks that end with their holder: ``flock`` on a descriptor of their own.

A pid says nothing about who is alive in another pid namespace; a lock does.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

_ours: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """An exclusive lock on a file, held until :meth:`release` or the end of the process.

    A holder may unlink the file just before it lets go: whoever acquires the lock checks that the
    file still has its name, and starts over when it does not, so that two never hold it.
    """

    __slots__ = ("__weakref__", "_descriptor", "path")

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._descriptor: int | None = None

    def acquire(self, *, create: bool = False) -> bool:
        """Try to take the lock, without waiting.

        Args:
            create: Make the file (mode 0600) when it is missing.

        Returns:
            Whether it is held now.

        Raises:
            OSError: The file cannot be opened.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        while True:
            descriptor = os.open(self.path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except BaseException:
                os.close(descriptor)
                raise
            if _is_at(descriptor, self.path):
                self._descriptor = descriptor
                _ours.add(self)
                return True
            os.close(descriptor)

    def is_free(self) -> bool:
        """Say whether nobody holds the lock; any number of processes may ask at the same time.

        Raises:
            OSError: The file cannot be opened.
        """
        probe = LockProbe(self.path)
        try:
            return probe.is_free()
        finally:
            probe.close()

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def unlinked(self) -> bool:
        """Say whether the file that we hold has lost its name."""
        return self._descriptor is not None and not os.fstat(self._descriptor).st_nlink

    def adopt(self, descriptor: int) -> None:
        """Take over a lock whose locked descriptor was inherited from the parent process."""
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        _ours.add(self)

    def hand_over(self) -> int:
        """Return the locked descriptor for a child process, which then holds the lock as well."""
        if self._descriptor is None:
            raise RuntimeError(f"lock {self.path} is not held")
        return self._descriptor

    def release(self, *, unlink: bool = False) -> None:
        """Let go of the lock; a no-op when it is not held.

        It is free at once, also while a child that was just forked still shares the descriptor.

        Args:
            unlink: Remove the file first.
        """
        if self._descriptor is None:
            return
        if unlink and _is_at(self._descriptor, self.path):
            os.unlink(self.path)
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.leave_to_others()

    def leave_to_others(self) -> None:
        """Close the descriptor: the lock stays with the processes that share it, if any."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class LockProbe:
    """Asks again and again whether a lock is held, also when its file has lost its name by then.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def is_free(self) -> bool:
        """Say whether nobody holds the lock."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return True

    def close(self) -> None:
        """Ask no more."""
        os.close(self._descriptor)


def is_held(path: Path) -> bool:
    """Say whether a process holds the lock on a file; nobody does where there is none."""
    try:
        return not FileLock(path).is_free()
    except OSError:
        return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), named)


def _forget_in_child() -> None:
    # A forked child shares the descriptors: kept open, they would keep the parent's locks alive.
    for lock in list(_ours):
        lock.leave_to_others()


os.register_at_fork(after_in_child=_forget_in_child)
