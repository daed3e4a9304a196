"""Locks end with their holder, and only with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asynclog.intake.locks import FileLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file that is locked."""
    path = tmp_path / "lock"
    path.touch()
    return path


def is_free(path: Path) -> bool:
    """Say whether somebody else could have the lock now."""
    other = FileLock(path)
    free = other.acquire()
    other.release()
    return free


def sharing(lock: FileLock) -> subprocess.Popen[bytes]:
    """Start a process that shares the locked descriptor, as every child does for a moment."""
    return subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        pass_fds=[lock.hand_over()],
    )


def test_free_once_released(path: Path) -> None:
    """A child that was just forked, and has our descriptors still, does not keep our lock."""
    lock = FileLock(path)
    assert lock.acquire()
    with sharing(lock) as child:
        assert not is_free(path)
        lock.release()
        assert is_free(path)
        child.communicate(b"\n")


def test_left_to_others(path: Path) -> None:
    """Whoever was given the descriptor keeps the lock until the end."""
    lock = FileLock(path)
    assert lock.acquire()
    with sharing(lock) as child:
        lock.leave_to_others()
        assert not lock.held
        assert not is_free(path)
        child.communicate(b"\n")
    assert is_free(path)
